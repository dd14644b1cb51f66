"""8 bits in ONNX Runtime: ranges give the whole's result, and what cannot be quantised says so."""

import pytest
import sample_models as samples
import torch
from runtime_cases import Laid, case, case_of
from split_law import through_wire
from torch import nn

from edgesplit.caller.inputs.zoo import load_model
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.runtime.check import difference
from edgesplit.node.runtime.onnx_int8 import QuantizedRuntime, make
from edgesplit.node.runtime.onnx_quantise import quantised, quantised_graph
from edgesplit.node.runtime.torch_engine import TorchEngine

pytestmark = pytest.mark.usefixtures("one_thread")

# Of the largest result, with random weights, which 8 bits suit least. Where a cut splits a fused
# block, that one runs in floats: the result differs from the whole's by no more than that.
LOSS = 0.2
MOST_CUTS = 12


class Residual(nn.Module):
    """Blocks that are fused, what was before them alive beside them, and a head."""

    def __init__(self):
        super().__init__()
        self.stem, self.first_norm = nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16)
        self.conv, self.norm = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = nn.functional.relu6(self.first_norm(self.stem(x)))
        y = torch.relu(self.norm(self.conv(x)))
        return self.head((x + y).mean((2, 3)))


def _trained(model):
    """Normalisation that does something: as after training."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


MODELS = {
    "Residual": lambda: (_trained(Residual()), [torch.randn(1, 3, 24, 24)]),
    "UNet": lambda: (samples.UNet(), [torch.randn(1, 3, 16, 16)]),
    "Attention": lambda: (samples.Attention(), [torch.randn(1, 5, 16)]),
    "Laid": lambda: (Laid(), [torch.randn(2, 4, 6, 6)]),
    "mobilenet_v2": lambda: (load_model("mobilenet_v2"), [torch.randn(1, 3, 32, 32)]),
}


def examples_like(values, count=8):
    generator = torch.Generator().manual_seed(3)
    return [[torch.randn(v.shape, generator=generator) for v in values] for _ in range(count)]


@pytest.fixture(scope="module", params=MODELS)
def quantised_case(request):
    """A case, its runtime on 8 bits, and the names of what a cut may not split."""
    torch.manual_seed(0)
    sample = case_of(*MODELS[request.param]())
    examples = [sample.values, *examples_like(sample.values)]
    graph = quantised(sample.graph, sample.program.weights, examples)
    return sample, QuantizedRuntime(graph, sample.program.weights, threads=1)


def halves(sample, runtime, cut):
    n = len(sample.program)
    payload = through_wire(runtime.prepare(0, cut)(sample.values))
    return through_wire(runtime.prepare(cut, n)(payload))


def test_halves_give_the_whole(quantised_case):
    """To the bit, unless the cut splits what is fused."""
    sample, runtime = quantised_case
    n = len(sample.program)
    whole = through_wire(runtime.prepare(0, n)(sample.values))
    cuts = sorted({*range(0, n, -(-n // MOST_CUTS)), n})
    errors = [difference(halves(sample, runtime, cut), whole) for cut in cuts]
    assert max(errors) <= LOSS
    assert errors[0] == errors[-1] == 0.0
    assert sum(error == 0.0 for error in errors) >= len(errors) / 4


def test_layer_by_layer_gives_the_whole_s_forms_and_about_its_numbers(quantised_case):
    sample, runtime = quantised_case
    payload = sample.values
    for k in range(min(MOST_CUTS, len(sample.program))):
        payload = runtime.prepare(k, k + 1)(payload)
        assert difference(payload, sample.payloads[k + 1]) <= LOSS


def test_the_whole_is_lossy_but_near(quantised_case):
    sample, runtime = quantised_case
    whole = runtime.prepare(0, len(sample.program))(sample.values)
    assert 1e-4 < difference(whole, sample.payloads[-1]) <= LOSS


def test_a_cut_between_blocks_costs_nothing():
    """Behind each ReLU, and behind the sum; a payload there holds at most 256 different numbers."""
    torch.manual_seed(0)
    sample = case_of(*MODELS["Residual"]())
    graph = quantised(sample.graph, sample.program.weights, [sample.values])
    runtime = QuantizedRuntime(graph, sample.program.weights, threads=1)
    whole = runtime.prepare(0, len(sample.program))(sample.values)
    behind_blocks = (3, 6, 7)
    for cut in behind_blocks:
        assert difference(halves(sample, runtime, cut), whole) == 0.0
        payload = runtime.prepare(0, cut)(sample.values)
        assert all(len(value.unique()) <= 256 for value in payload)


def test_the_graph_holds_no_weights_of_the_program():
    torch.manual_seed(0)
    sample = case_of(nn.Sequential(nn.Linear(300, 300), nn.ReLU()), [torch.randn(1, 300)])
    graph = quantised(sample.graph, sample.program.weights, [sample.values])
    assert len(graph.quantised) < 300 * 300 / 4


def test_several_requests_at_once_get_their_own_answers():
    sample = case("UNet")
    graph = quantised(sample.graph, sample.program.weights, [sample.values])
    runtime, n = QuantizedRuntime(graph, sample.program.weights, threads=1), len(sample.program)
    given = [torch.cat([sample.values[0], -sample.values[0]])]
    together = runtime.prepare_batched(0, n, [0])(given)
    alone = [runtime.prepare(0, n)([x])[0] for x in given[0].split(1)]
    assert torch.equal(together[0], torch.cat(alone))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Masked", "nothing in this model can be quantised"),
        ("Several", "nothing in this model can be quantised"),
        ("Control", "a model with branches is not quantised"),
    ],
)
def test_a_model_that_cannot_be_quantised(name, message):
    sample = case(name)
    with pytest.raises(RuntimeUnavailableError, match=message):
        quantised_graph(sample.program, sample.values, [sample.values])


def test_examples_that_do_not_fit():
    sample = case("UNet")
    for examples, message in (
        ([], "at least one example"),
        ([sample.values, [torch.zeros(2, 3, 16, 16)]], "example 1 is not of the shapes"),
        ([[]], "example 0 is not of the shapes"),
    ):
        with pytest.raises(RuntimeUnavailableError, match=message):
            quantised(sample.graph, sample.program.weights, examples)


def test_a_plain_graph_is_refused():
    sample = case("UNet")
    engine = TorchEngine(sample.program, sample.workload.forms, 1)
    with pytest.raises(RuntimeUnavailableError, match="needs a quantised graph"):
        make(engine, sample.graph)
