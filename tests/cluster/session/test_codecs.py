"""Payload codecs end to end: the law with codecs, a floor of accuracy, codecs given up again."""

import time
import warnings

import pytest
import torch
from torch import nn

from edgesplit import AccuracyWarning, Config, EdgeSplit, Emulation, Goal, LinkShape
from edgesplit.core.payload_codec import CODECS, is_lossy
from edgesplit.errors import GoalError, InputError, PlanError, UnknownNameError
from edgesplit.node.codec.payload import as_received
from experiments.shared.small_net import small_net

SLOW = Emulation(
    slowdown={"end": 60.0},
    links={("end", "cloud"): LinkShape(2e5, 0.001), ("cloud", "end"): LinkShape(2e5, 0.001)},
)
PAIR = ("end", "cloud")
FLOOR = 0.02
GRANTED = Goal(end_energy=0.0, total_energy=0.0, latency=1.0, max_accuracy_loss=FLOOR)


class Margins(nn.Module):
    """Two classes by the sign of a sum, which is linear in the input. Some milliseconds of work."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 256, 7, padding=3, bias=False)

    def forward(self, x):
        total = self.conv(x).flatten(1).sum(dim=1, keepdim=True)
        return torch.cat([total, -total], dim=1)


def noise(generator):
    return torch.randn(1, 3, 48, 48, generator=generator)


def far(model, generator, sign):
    """An example of a class that no rounding turns into the other."""
    with torch.no_grad():
        total = model(torch.ones(1, 3, 48, 48))[0, 0]
    return noise(generator) + 2.0 * sign * total.sign()


def near(model, generator):
    """An input on the edge between the classes, but for rounding."""
    first, second = far(model, generator, 1), far(model, generator, -1)
    with torch.no_grad():
        above, below = model(first)[0, 0], model(second)[0, 0]
    share = -below / (above - below)
    return share * first + (1 - share) * second


def examples(model, count=400):
    random = torch.Generator().manual_seed(3)
    return [(far(model, random, 1 - 2 * (k % 2)), k % 2) for k in range(count)]


@pytest.fixture(scope="module")
def x():
    return torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def split():
    with EdgeSplit(small_net(), runtime="torch") as running:
        yield running


def along(split, x, stages):
    """What the program gives with each hop's rounding put in at its cut."""
    program = split.exported.program
    payload = split.exported.flatten((x,))
    for start, stop, codec in stages:
        payload = program.segment(start, stop)(payload)
        payload = as_received(payload, codec)
    return split.exported.unflatten(payload)


@pytest.mark.parametrize("codec", CODECS)
def test_the_law_with_codecs(split, x, codec):
    """Split with a codec == whole with the same rounding put in at the cut."""
    split.infer(x)
    for cut in range(8):
        y = split.infer_on(f"end:0-{cut} |{codec}| cloud:{cut}-8", x)
        assert torch.equal(y, along(split, x, [(0, cut, codec), (cut, 8, "as-is")]))
        record = split.last_record
        assert record.plan.codecs == (codec,)
        assert not record.why


def test_the_law_on_three_tiers_with_a_relay(split, x):
    split.infer(x)
    plan = "end:0-0 |int8| edge:0-3 |float16+lz4| cloud:3-8"
    stages = [(0, 0, "int8"), (0, 3, "float16+lz4"), (3, 8, "as-is")]
    assert torch.equal(split.infer_on(plan, x), along(split, x, stages))
    passed_on = "end:0-2 |int8-channel+zstd| edge:2-2 |int8-channel+zstd| cloud:2-8"
    stages = [(0, 2, "int8-channel+zstd"), (2, 8, "as-is")]
    assert torch.equal(split.infer_on(passed_on, x), along(split, x, stages))


def test_fewer_bytes_travel_and_records_say_so(split, x):
    split.infer(x)
    split.infer_on("end:0-0 | cloud:0-8", x)
    as_is = split.last_record.timings[0].sent_bytes
    split.infer_on("end:0-0 |int8| cloud:0-8", x)
    record = split.last_record
    assert record.timings[0].sent_bytes < 0.3 * as_is
    assert record.timings[0].codec_s > 0 < record.timings[1].codec_s
    assert split.records()["plan"].iloc[-1] == "end:0-0 |int8| cloud:0-8"


def test_without_a_grant_nothing_is_measured_and_nothing_lossy_is_planned(split, x):
    split.infer(x)
    split.wait_for_codecs(timeout_s=30)
    assert split.accuracy_losses == {}
    assert split.profile.codecs == ()
    assert split.plan.codecs == ("as-is",) * len(split.plan.codecs)


def test_wrong_codecs_and_grants_are_said_at_once(split, x):
    with pytest.raises(PlanError, match="no codec 'int7'; known: "):
        split.infer_on("end:0-2 |int7| cloud:2-8", x)
    with pytest.raises(UnknownNameError, match="no codec 'gzip'"):
        Config(codecs=("gzip",))
    with pytest.raises(GoalError, match="is measured on examples"):
        EdgeSplit(small_net(), Goal(max_accuracy_loss=0.01))
    with pytest.raises(GoalError, match="takes 765 examples"):
        EdgeSplit(small_net(), Goal(max_accuracy_loss=0.005), examples=[x] * 10)
    with pytest.raises(InputError, match="given str"):
        EdgeSplit(small_net(), examples="digits")
    with pytest.raises(GoalError, match="is measured on examples"):
        split.set_goal(Goal(max_accuracy_loss=0.01))


def settled(split, x, is_so, limit_s=90.0):
    """Requests until the plan is as it should be."""
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        split.infer(x)
        if is_so(split.plan):
            return True
    return False


def test_lossless_codecs_that_are_named_need_no_grant():
    zeros = torch.zeros(1, 3, 48, 48)
    config = Config(tiers=PAIR, codecs=("zstd", "int8"), emulation=SLOW, runtimes=("torch",))
    goal = Goal(end_energy=0.0, total_energy=0.0, latency=1.0)
    with pytest.warns(AccuracyWarning, match="int8: not used, since nothing lossy is granted"):
        made = EdgeSplit(Margins(), goal, config=config)
    with made as split:
        split.infer(zeros)
        split.wait_for_codecs(timeout_s=60)
        assert settled(split, zeros, lambda plan: "zstd" in plan.codecs)
        assert [sizes.codec for sizes in split.profile.codecs] == ["zstd"]
        assert "zstd" in str(split.explain())


def test_a_granted_codec_is_measured_used_watched_and_given_up():
    """On the examples it costs nothing; then requests come that stand no rounding at all."""
    config = Config(
        tiers=PAIR, emulation=SLOW, runtimes=("torch",), accuracy_checks=1.0, codecs=("int8",)
    )
    random, model = torch.Generator().manual_seed(5), Margins()
    with EdgeSplit(model, GRANTED, config=config, examples=examples(model)) as split:
        safe = far(model, random, 1)
        split.infer(safe)
        split.wait_for_codecs(timeout_s=120)
        assert settled(split, safe, lambda plan: plan.codecs == ("int8",))
        loss = split.accuracy_losses["int8", split.plan.cuts[0]]
        assert loss.count == 400
        assert max(0.0, loss.share) <= loss.upper <= FLOOR
        split.infer(safe)
        assert split.last_record.plan.codecs == ("int8",)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert given_up(split, lambda: near(model, random))
        [warning] = [one for one in told if issubclass(one.category, AccuracyWarning)]
        assert "int8 is not used for this model and input shape any more" in str(warning.message)
        assert "from exact ones, over 2.00%" in str(warning.message)
        for _ in range(5):
            split.infer(safe)
        assert not any(map(is_lossy, split.last_record.plan.codecs))


def given_up(split, made, limit_s=90.0):
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s and any(map(is_lossy, split.plan.codecs)):
        split.infer(made())
    return not any(map(is_lossy, split.plan.codecs))


def test_a_fixed_plan_waits_for_its_lossy_codec_to_be_measured(x):
    """Without it until then."""
    plan = "end:0-3 |float16| cloud:3-8"
    random = torch.Generator().manual_seed(3)
    examples = [torch.rand(1, 3, 32, 32, generator=random) for _ in range(80)]
    goal = Goal(max_accuracy_loss=0.05)
    config = Config(tiers=("end", "cloud"), emulation=SLOW, runtimes=("torch",))
    with EdgeSplit(small_net(), goal, plan, config=config, examples=examples) as split:
        split.infer(x)
        assert [stage.codec for stage in split.plan.stages] == ["as-is", "as-is"]
        split.wait_for_codecs(timeout_s=120)
        assert split.wait_for_plan()
        assert str(split.plan) == plan
        y = split.infer(x)
        assert torch.equal(y, along(split, x, [(0, 3, "float16"), (3, 8, "as-is")]))
    with (
        pytest.raises(PlanError, match="nothing lossy is granted"),
        EdgeSplit(small_net(), policy=plan, config=config) as split,
    ):
        split.infer(x)
