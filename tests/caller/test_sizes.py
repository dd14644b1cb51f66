"""Sizes that a model lets vary go through one export, with the model's bits at every size."""

import pytest
import torch
from split_law import broken_splits, same_bits, through_wire
from torch import nn

from edgesplit import load_model
from edgesplit.caller.active_workload import ShippedProgram, seen_to_vary
from edgesplit.caller.like_profiles import guessed, is_scaled, scaled
from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import CodecSizes
from edgesplit.core.power import Power
from edgesplit.core.profile import Profile, Tier
from edgesplit.node.program.export import model as export_module
from edgesplit.node.program.export import symbolic
from edgesplit.node.program.export.model import confirms, export
from edgesplit.node.program.export.snapshot import take_snapshot
from edgesplit.node.program.program_file import DescribedProgram
from edgesplit.node.program.shipping import pack


def shipped(exported, program_id, varying=()):
    return ShippedProgram(
        exported, DescribedProgram.of(pack(exported.program)), program_id, varying
    )


@pytest.fixture(autouse=True)
def plainly_on_one_thread(one_thread):
    """Results depend on the number of threads, and on whether attention is fused."""
    is_fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(is_fused)


def run(exported, *args):
    program = exported.program
    return exported.unflatten(program.segment(0, len(program))(exported.flatten(args)))


class Sentences(nn.Module):
    """Tokens and a mask of the same length."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.tokens, self.places = nn.Embedding(50, 16), nn.Embedding(64, 16)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, tokens, mask):
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        return (self.encoder(x) * mask[..., None]).sum(1)


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.inner = kind(6, 8, **options)

    def forward(self, x):
        return self.inner(x)


def pictures():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


KINDS = {
    "sentences": (Sentences, lambda n, b: (torch.randint(0, 50, (b, n)), torch.rand(b, n))),
    "lstm": (
        lambda: Recurrent(nn.LSTM, batch_first=True, bidirectional=True),
        lambda n, b: (torch.randn(b, n, 6),),
    ),
    "gru": (lambda: Recurrent(nn.GRU, num_layers=2), lambda n, b: (torch.randn(b, n, 6),)),
    "rnn": (lambda: Recurrent(nn.RNN, batch_first=True), lambda n, b: (torch.randn(b, n, 6),)),
    "pictures": (pictures, lambda n, b: (torch.randn(b, 3, 16 + n, 40 + 2 * n),)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_export_takes_all_lengths(kind):
    torch.manual_seed(0)
    make, drawn = KINDS[kind]
    model = make().eval()
    exported = export(model, drawn(7, 1))
    for n, batch in ((9, 1), (7, 1), (4, 3), (23, 2)):
        given = drawn(n, batch)
        assert exported.accepts(given)
        assert confirms(exported, take_snapshot(model), given, {})
        with torch.no_grad():
            assert same_bits(run(exported, *given), model(*given))
    assert broken_splits(exported, drawn(12, 2)) == []


@pytest.mark.parametrize("kind", ["sentences", "lstm"])
def test_a_first_length_of_1_stays_its_own_until_another_is_seen(kind):
    """A size of 1 mostly has a meaning."""
    make, drawn = KINDS[kind]
    model = make().eval()
    first = shipped(export(model, drawn(1, 1)), "p0")
    second = drawn(9, 1)
    assert not first.exported.accepts(second)
    varying = seen_to_vary([first], second, {})
    exported = export(model, second, varying=varying)
    for given in (second, drawn(4, 3)):
        assert exported.accepts(given)
        with torch.no_grad():
            assert same_bits(run(exported, *given), model(*given))
    assert seen_to_vary([first, shipped(exported, "p1", varying)], drawn(30, 1), {}) == ()


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "squeezenet1_1", "vgg11"])
def test_pictures_of_all_sizes_go_through_one_export_of_a_large_network(name):
    torch.manual_seed(0)
    model = load_model(name).eval()
    exported = export(model, (torch.rand(1, 3, 96, 96),))
    for shape in ((1, 3, 128, 80), (2, 3, 65, 97)):
        x = torch.rand(shape)
        assert exported.accepts((x,))
        with torch.no_grad():
            assert same_bits(run(exported, x), model(x))
    payload = exported.flatten((torch.rand(1, 3, 80, 112),))
    n = len(exported.program)
    whole = exported.program.segment(0, n)(payload)
    for cut in range(1, n, max(1, n // 12)):
        middle = exported.program.segment(0, cut)(payload)
        assert same_bits(exported.program.segment(cut, n)(through_wire(middle)), whole)


def test_conditions_on_sizes_that_grow_too_long_leave_the_batch_to_vary(monkeypatch):
    """As of shifted windows, which torch would trace for hours."""
    monkeypatch.setattr(symbolic, "_LONGEST_CONDITION", 40)
    tried = []
    capture = export_module.capture

    def noted(flat, tensors, dims):
        tried.append(dims)
        return capture(flat, tensors, dims)

    monkeypatch.setattr(export_module, "capture", noted)
    model, x = pictures().eval(), torch.rand(2, 3, 24, 32)
    exported = export(model, (x,))
    assert len(tried) == 2
    assert exported.accepts((torch.rand(5, 3, 24, 32),))
    assert not exported.accepts((torch.rand(2, 3, 32, 32),))
    with torch.no_grad():
        assert same_bits(run(exported, x), model(x))


@pytest.mark.parametrize("kind", [nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.GELU])
@pytest.mark.parametrize("in_place", [False, True])
def test_activations_that_are_traced_quickly_keep_how_their_input_lies(kind, in_place):
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = kind(inplace=True) if in_place and kind is not nn.GELU else kind()

        def forward(self, x):
            y = self.inner(x.transpose(1, 3) * 2)
            return y.view(-1) if y.is_contiguous() else y.sum(1), y

    model = Looks()
    exported = export(model, (torch.randn(2, 3, 4, 5),))
    for shape in ((2, 3, 4, 5), (3, 3, 6, 7)):
        x = torch.randn(shape)
        assert exported.accepts((x,))
        y, expected = run(exported, x), model(x)
        assert same_bits(y, expected)
        assert [part.stride() for part in y] == [part.stride() for part in expected]


def profile_of(layer_s, provenance="measured"):
    return Profile((Tier("end", layer_s, Power(1, 1, 1, 1), provenance=provenance),), ())


def test_layers_are_scaled_by_the_bytes_that_each_reads_and_makes():
    """A linear layer behind adaptive pooling takes no longer for a larger picture."""
    like = Graph("m", ("conv", "pool", "linear"), (100, 400, 40, 8), (9, 0, 90))
    graph = Graph("m", ("conv", "pool", "linear"), (200, 800, 40, 8), (9, 0, 90))
    (tier,) = scaled(profile_of((0.1, 0.01, 0.05)), graph, like).tiers
    assert tier.layer_s == pytest.approx((0.2, 0.01 * 840 / 440, 0.05))
    assert tier.provenance == "measured, scaled to another size"
    again = scaled(Profile((tier,), ()), like, graph)
    assert again.tiers[0].provenance == tier.provenance
    assert is_scaled(again)
    assert not is_scaled(profile_of((0.1,)))


class WithState(nn.Module):
    """Its second input has the batch in dimension 1."""

    def __init__(self):
        super().__init__()
        self.inner = nn.GRU(6, 8, batch_first=True)

    def forward(self, x, state):
        return self.inner(x, state)


@pytest.mark.parametrize(("n", "batch"), [(9, 1), (7, 3), (9, 3)])
def test_the_batch_need_not_be_first(n, batch):
    model = WithState().eval()
    first = shipped(export(model, (torch.randn(1, 7, 6), torch.randn(1, 1, 8))), "p0")
    second = torch.randn(batch, n, 6), torch.randn(1, batch, 8)
    exported = export(model, second, varying=seen_to_vary([first], second, {}))
    batch = batch if n == 9 else 5
    other = torch.randn(batch, 7, 6), torch.randn(1, batch, 8)
    assert exported.accepts(other)
    with torch.no_grad():
        assert same_bits(run(exported, *other), model(*other))


class Fixed(nn.Module):
    """The length is the number of its weights."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 3)

    def forward(self, x):
        return self.inner(x) if x.shape[1] == 6 else x * 2


def test_a_size_that_the_model_branches_on_stays_its_own_and_is_not_tried_again():
    model = Fixed()
    first = shipped(export(model, (torch.randn(2, 6),)), "p0")
    assert seen_to_vary([first], (torch.randn(4, 6),), {}) == (frozenset({0}),)
    other = (torch.randn(2, 5),)
    varying = seen_to_vary([first], other, {})
    assert varying == (frozenset({1}),)
    second = shipped(export(model, other, varying=varying), "p1", varying)
    assert same_bits(run(second.exported, *other), model(*other))
    assert not second.exported.accepts((torch.randn(2, 6),))
    assert second.exported.accepts((torch.randn(2, 9),))


def test_other_dtypes_ranks_layouts_and_plain_values_are_no_other_sizes():
    class Takes(nn.Module):
        def forward(self, x, scale):
            return x * scale

    known = [shipped(export(Takes(), (torch.randn(2, 6), 2.0)), "p0")]
    for x, scale in (
        (torch.randn(2, 5).double(), 2.0),
        (torch.randn(2, 5, 1), 2.0),
        (torch.randn(5, 2).t(), 2.0),
        (torch.randn(2, 5), 3.0),
    ):
        assert seen_to_vary(known, (x, scale), {}) == ()
    assert seen_to_vary(known, (torch.randn(2, 5), 2.0), {}) == (frozenset({1}),)


def test_what_a_codec_costs_at_one_size_is_not_known_of_another():
    graph, like = Graph("g", ("a",), (8, 4), (0,)), Graph("g", ("a",), (4, 2), (0,))
    coded = profile_of((0.1,)).with_codecs([CodecSizes("int8", (1.0, 1.0), (0.0, 0.0))], {})
    assert scaled(coded, graph, like).codecs == ()
    assert guessed(coded, 5).codecs == ()
