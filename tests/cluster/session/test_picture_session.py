"""Picture files through a session: to the bit as whole, decoded where that pays."""

import pytest
import torch
from picture_files import picture

from edgesplit import (
    Config,
    EdgeSplit,
    Emulation,
    Goal,
    LinkShape,
    Preparation,
    Preprocessing,
    with_preprocessing,
)
from edgesplit.caller.inputs.images import read_image
from edgesplit.core.payload_codec import PICTURE
from edgesplit.errors import EdgeSplitError
from experiments.shared.small_net import small_net

PREPROCESSING = Preprocessing(32, 36, (0.5,) * 3, (0.5,) * 3)
TIME = Goal(latency=1.0, end_energy=0.0, total_energy=0.0)
# A device far slower than the others, on links on which pixels take ten times as long as a file.
SLOW = Emulation(slowdown={"end": 60.0}, links={})
for pair in (("end", "cloud"), ("cloud", "end")):
    SLOW = SLOW.with_link(*pair, LinkShape(1e6, 0.001))
CONFIG = Config(tiers=("end", "cloud"), emulation=SLOW, runtimes=("torch",))
FILES = [read_image(picture(400, 300, seed=seed)) for seed in range(3)]


def whole_model():
    return with_preprocessing(small_net().eval(), PREPROCESSING)


@pytest.fixture(scope="module")
def split():
    with EdgeSplit(whole_model(), TIME, config=CONFIG) as running:
        running.infer(FILES[0])
        yield running


def exact(file):
    with torch.no_grad():
        return whole_model()(file.tensor())


def test_the_law_wherever_the_file_is_decoded(split):
    n = len(split.graph)
    plans = (
        f"end:0-{n}",
        f"end:0-0 | cloud:0-{n}",
        f"end:0-0 |picture| cloud:0-{n}",
        f"end:0-0 |zstd| cloud:0-{n}",
        f"end:0-3 | cloud:3-{n}",
    )
    for file in FILES:
        for plan in plans:
            assert torch.equal(split.infer_on(plan, file), exact(file)), plan
            assert not split.last_record.why


def test_the_file_is_sent_where_that_is_quickest(split):
    split.wait_for_codecs(timeout_s=60)
    assert split.wait_for_plan()
    assert split.plan.codecs == (PICTURE,)
    for file in FILES:
        assert torch.equal(split.infer(file), exact(file))
        sent, _ = split.last_record.timings
        assert sent.sent_bytes < 40_000 < file.tensor().nbytes
        assert sent.codec_s == 0.0
    assert repr(split) == f"<EdgeSplit of Sequential, plan {split.plan}>"
    text = str(split.explain())
    assert "pictures come as files; cloud decodes them" in text
    assert split.profile.codec(PICTURE).spread_bytes[0] >= 0


def test_what_was_predicted_holds_decoding(split):
    n = len(split.graph)
    split.infer_on(f"end:0-0 | cloud:0-{n}", FILES[1])
    opened, _ = split.last_record.timings
    assert opened.codec_s > 0
    assert opened.sent_bytes == FILES[1].tensor().nbytes


def test_the_same_picture_as_a_tensor_has_a_plan_of_its_own(split):
    x = FILES[0].tensor()
    assert torch.equal(split.infer(x), exact(FILES[0]))
    assert PICTURE not in split.plan.codecs
    assert torch.equal(split.infer(FILES[1]), exact(FILES[1]))
    assert PICTURE in split.plan.codecs


def test_many_under_way_at_once(split):
    answers = list(split.map(FILES * 2))
    assert all(map(torch.equal, answers, map(exact, FILES * 2)))


def test_a_file_that_is_broken_inside_is_an_error_of_ours(split):
    data = bytearray(picture(400, 300, kind="PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(EdgeSplitError):
        split.infer(read_image(bytes(data)))
    assert torch.equal(split.infer(FILES[2]), exact(FILES[2]))


def test_a_config_may_leave_files_undecoded_only_here():
    config = Config(tiers=("end", "cloud"), emulation=SLOW, runtimes=("torch",), codecs=())
    square = Preparation(32, 36)
    model = with_preprocessing(small_net().eval(), PREPROCESSING.normalising())
    with EdgeSplit(model, TIME, config=config) as split:
        file = FILES[0].prepared(square)
        y = split.infer(file)
        split.wait_for_codecs(timeout_s=60)
        assert split.profile.codecs == ()
        assert torch.equal(y, model(file.tensor()))
