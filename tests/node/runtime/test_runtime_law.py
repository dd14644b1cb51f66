"""The law for runtimes: wherever it is cut and whoever runs the halves, the whole's result."""

import pytest
import torch
from runtime_cases import MAKERS, case, case_of
from split_law import through_wire
from torch import nn

from edgesplit.errors import PlanError, RequestError, RuntimeUnavailableError
from edgesplit.node.runtime.channels_last import ChannelsLastRuntime
from edgesplit.node.runtime.check import TOLERANCE, compare
from edgesplit.node.runtime.cuda import module_on
from edgesplit.node.runtime.torch_range import with_targets

NAMES = ("torch", "torch-channels-last", "onnx")
MOST_CUTS = 30
# Where torch itself is not bit-identical from one layout to the other, errors are of this size.
FAR_BELOW = TOLERANCE / 10

pytestmark = pytest.mark.usefixtures("one_thread")  # results depend on how many there are


@pytest.fixture(scope="module", params=MAKERS)
def sample(request):
    return case(request.param)


def some_cuts(n):
    """All cuts, or about thirty of them."""
    return sorted({*range(0, n + 1, -(-n // MOST_CUTS)), n})


def test_halves_in_any_runtimes_give_the_whole(sample):
    n = len(sample.program)
    # A payload comes dense off a wire, so a slice at the end may have had gaps or not.
    whole = through_wire(sample.program.segment(0, n)(sample.values))
    broken = []
    for cut in some_cuts(n):
        heads = {name: sample.runtimes[name].prepare(0, cut)(sample.values) for name in NAMES}
        tails = {name: sample.runtimes[name].prepare(cut, n) for name in NAMES}
        for head, payload in heads.items():
            payload = through_wire(payload)
            for tail, run in tails.items():
                error = compare(lambda p, run=run: through_wire(run(p)), lambda _: whole, payload)
                if not error <= FAR_BELOW:
                    broken.append((head, cut, tail, error))
    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_single_layers_and_ranges_give_torch_s_payload(sample, name):
    """Shapes, dtypes and strides too; `compare` says infinite where they differ."""
    runtime, n = sample.runtimes[name], len(sample.program)
    cuts = some_cuts(n)
    ranges = [(cut, min(cut + 1, n)) for cut in cuts] + list(zip(cuts, cuts[5:], strict=False))
    errors = {
        (start, stop): compare(
            runtime.prepare(start, stop),
            sample.program.segment(start, stop),
            sample.payloads[start],
        )
        for start, stop in ranges
    }
    assert {bounds: e for bounds, e in errors.items() if not e <= FAR_BELOW} == {}


@pytest.mark.parametrize("name", NAMES)
def test_what_passes_through_is_the_same_object(name):
    unet = case("UNet")
    start, stop = 10, 13  # between the skips' beginning and end
    passing = set(unet.program.live_values(start)) & set(unet.program.live_values(stop))
    assert passing
    prepared = unet.runtimes[name].prepare(start, stop)
    payload = unet.payloads[start]
    made = dict(zip(unet.program.live_values(stop), prepared(payload), strict=True))
    given = dict(zip(unet.program.live_values(start), payload, strict=True))
    assert all(made[number] is given[number] for number in passing)
    empty = unet.runtimes[name].prepare(start, start)(payload)
    assert all(a is b for a, b in zip(empty, payload, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_range_or_payload_that_is_none(name):
    runtime = case("UNet").runtimes[name]
    for bounds in ((2, 1), (-1, 2), (0, 23)):
        with pytest.raises(PlanError, match="no layers"):
            runtime.prepare(*bounds)
    with pytest.raises(RequestError, match="takes 1 values, given 2"):
        runtime.prepare(0, 1)([torch.zeros(1, 3, 16, 16)] * 2)


@pytest.mark.parametrize("name", ["torch-channels-last", "onnx"])
@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(2, 3, 16, 16),
        torch.zeros(1, 3, 16, 16, dtype=torch.float64),
        torch.zeros(3, 16, 16),
        1.0,
    ],
    ids=["batch", "dtype", "dims", "number"],
)
def test_values_that_it_was_not_prepared_for(name, value):
    prepared = case("UNet").runtimes[name].prepare(0, 22)
    with pytest.raises(RuntimeUnavailableError, match=r"given (another|torch|1\.0)"):
        prepared([value])


def test_a_size_is_compared_with_the_one_that_was_baked_in():
    """Positions, exported for any batch: its size, an integer, crosses cuts."""
    sample = case("Positions")
    payload = sample.payloads[2]
    assert [value for value in payload if isinstance(value, int)] == [3]
    wrong = [4 if isinstance(value, int) else value for value in payload]
    prepared = sample.runtimes["onnx"].prepare(2, len(sample.program))
    prepared(payload)
    with pytest.raises(RuntimeUnavailableError, match="exported to ONNX for 3, given 4"):
        prepared(wrong)


def test_channels_last_keeps_a_copy_of_convolution_weights_only():
    sample = case("UNet")
    convolutions = [
        w
        for w in sample.program.weights
        if w.dim() == 4 and not w.is_contiguous(memory_format=torch.channels_last)
    ]
    assert len(convolutions) < sum(w.dim() == 4 for w in sample.program.weights)  # one is 1 x 1
    prepared = ChannelsLastRuntime(sample.workload).prepare(0, len(sample.program))
    assert prepared.n_bytes == sum(w.numel() * w.element_size() for w in convolutions)
    assert all(w.is_contiguous() for w in sample.program.weights)


class ReadsByPlace(nn.Module):
    """as_strided would read other elements in another layout, and nothing would tell."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x).as_strided((1, 4, 2), (0, 16, 1)) * 2


def test_what_reads_memory_by_place_is_refused_where_layouts_differ():
    workload = case_of(ReadsByPlace(), [torch.randn(1, 3, 4, 4)]).workload
    whole = (0, len(workload.program))
    with pytest.raises(RuntimeUnavailableError, match="as_strided"):
        ChannelsLastRuntime(workload).prepare(*whole)
    with pytest.raises(RuntimeUnavailableError, match="as_strided"):
        module_on(workload, whole, torch.device("cpu"))


def test_operators_are_replaced_inside_of_branches_too():
    layers = case("Control").program.structure.layers
    assert "aten.relu.default" in repr(layers)
    replaced = with_targets(layers, {"aten.relu.default": "aten.tanh.default"})
    assert repr(replaced) == repr(layers).replace("aten.relu.default", "aten.tanh.default")
