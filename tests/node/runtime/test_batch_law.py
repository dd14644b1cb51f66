"""The law for batches: at every cut, what a range gives several requests at once is each one's own.

Where a range cannot, that is found out before it is used: no range that passes is wrong on payloads
that nobody compared.
"""

from functools import cached_property

import numpy as np
import pytest
import torch
from runtime_cases import MAKERS, Flat, case, case_of
from torch import nn

from edgesplit.caller.inputs.zoo import load_model
from edgesplit.errors import EdgeSplitError, RuntimeUnavailableError
from edgesplit.node.program.batch_forms import axes, compared
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.runtime.batch_bench import BatchBench, JointTrial
from edgesplit.node.runtime.batched import Joint
from edgesplit.node.runtime.check import TOLERANCE, Exactness, difference
from edgesplit.node.runtime.noise import noise_trials
from edgesplit.node.runtime.onnx_batch import forms_of_two
from edgesplit.node.runtime.torch_engine import TorchEngine

NAMES = ("torch", "torch-channels-last", "onnx")
MOST_CUTS = 6
SIZES = (2, 3, 7)

pytestmark = pytest.mark.usefixtures("one_thread")


class Centred(nn.Module):
    """Each row less the mean of all rows: what a batch norm does in training."""

    def forward(self, x):
        return (x * 2 - x.mean(0)).relu() + 1


class AcrossRows(nn.Module):
    """Rows attend to each other."""

    def forward(self, x):
        y = x * 2
        return torch.softmax(y @ y.t(), 1) @ y


class Scaled(nn.Module):
    """By the largest element of all: of two alike requests the answers would be the same."""

    def forward(self, x):
        y = x + 1
        return y / y.abs().max()


class Hinted(nn.Module):
    """A dependence far below the tolerance."""

    def forward(self, x):
        y = x * 2
        return y + 1e-6 * y.sum()


class SequenceFirst(nn.Module):
    """Dimension 0 is time, not requests: the second one would go on where the first one ended."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(4, 8)

    def forward(self, x):
        return self.rnn(x)[0] * 2


class HiddenState(nn.Module):
    """The last hidden state has requests in dimension 1."""

    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        y, last = self.gru(x)
        return self.head(y).relu(), last * 2


class OneSize(nn.Module):
    """A size of the whole batch is baked in."""

    def forward(self, x):
        return (x * 2).view(6) + 1


class Temperature(nn.Module):
    """A second input without a dimension, in which requests differ."""

    def forward(self, x, t):
        return torch.softmax(x / (t.abs() + 1), 1) * 2


class Dropping(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x * 2, 0.5, training=True)


def sized(model, *shape):
    return lambda: (model(), [torch.randn(*shape)])


MORE = {
    "alexnet": lambda: (load_model("alexnet"), [torch.randn(1, 3, 64, 64)]),
    "HiddenState": sized(HiddenState, 1, 5, 4),
    "TwoAtOnce": sized(Flat, 2, 3, 6, 6),
    "Temperature": lambda: (Temperature(), [torch.randn(1, 5), torch.tensor(2.0)]),
    "Centred": sized(Centred, 1, 6),
    "AcrossRows": sized(AcrossRows, 2, 6),
    "Scaled": sized(Scaled, 1, 6),
    "Hinted": sized(Hinted, 1, 6),
    "SequenceFirst": sized(SequenceFirst, 3, 1, 4),
    "OneSize": sized(OneSize, 1, 6),
}
MODELS = {**MAKERS, **MORE}
# Ranges that run one request at a time: all of them, those of the whole model alone, or none. Of
# onnx also where the graph has sizes baked in that cannot be left open.
NEVER_WHOLE = {
    "torch": {
        "Control", "Positions", "Centred", "AcrossRows", "Scaled", "Hinted", "SequenceFirst",
        "OneSize", "Temperature",
    },
}  # fmt: skip
NEVER_WHOLE["torch-channels-last"] = NEVER_WHOLE["torch"]
NEVER_WHOLE["onnx"] = {
    *NEVER_WHOLE["torch"], "InPlace", "Attention", "Transformer", "Recurrent", "HiddenState",
}  # fmt: skip


class Bench:
    """A model with payloads that nobody has seen, and a verdict per range and runtime."""

    def __init__(self, name):
        torch.manual_seed(0)
        self.name, self.case = name, case(name) if name in MAKERS else case_of(*MORE[name]())
        self.n = len(self.case.program)
        self.forms = self.case.workload.forms
        self.trials = noise_trials(self.case.program, self.case.values)

    @cached_property
    def twos(self):
        return TorchEngine(self.case.program, self.forms, 1).forms_of_two(None, unslotted)

    def joint(self, name, start, stop):
        given = compared(self.forms[start], self.twos[start])
        made = compared(self.forms[stop], self.twos[stop])
        run = (
            self.case.program.segment(start, stop)
            if name == "torch"
            else self.case.runtimes[name].prepare_batched(start, stop, axes(given))
        )
        return Joint(run, given, made)

    def why_not(self, name, start, stop):
        """Why a range runs one at a time, as a tier finds it out; empty where it need not."""
        before = self.case.program.segment(0, start)
        alone = self.case.program.segment(start, stop)
        payloads = [before(trial.make()) for trial in self.trials]
        trials = [JointTrial("noise", payload, alone(payload)) for payload in payloads]
        try:
            joint = self.joint(name, start, stop)
            bench = BatchBench("layers", alone, joint, trials, Exactness())
            bench.require_apart()
            for size in SIZES:
                bench.require_right(size)
        except (EdgeSplitError, RuntimeError, IndexError, ValueError) as error:
            return str(error) or repr(error)
        return ""

    def others(self, cut, count):
        """Payloads at a cut that differ from all that were compared."""
        before, found = self.case.program.segment(0, cut), []
        for seed in range(count):
            generator = torch.Generator().manual_seed(77 + seed)
            found.append(before([other_like(value, generator) for value in self.case.values]))
        return found


def other_like(value, generator):
    if not value.dim():
        return value
    if value.is_floating_point():
        return torch.randn(value.shape, generator=generator) * 2
    return torch.randint(0, int(value.max()) + 1, value.shape, generator=generator)


@pytest.fixture(scope="module", params=MODELS)
def bench(request):
    return Bench(request.param)


def some_ranges(n):
    """Both sides of every cut, or of some, and single layers there."""
    cuts = sorted({*range(0, n + 1, -(-n // MOST_CUTS)), n})
    return sorted(
        {
            (0, n),
            *((0, c) for c in cuts),
            *((c, n) for c in cuts if c < n),
            *((c, c + 1) for c in cuts if c < n),
        }
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_passes_gives_each_request_its_own(bench, name):
    broken, alone = [], []
    for start, stop in some_ranges(bench.n):
        if why := bench.why_not(name, start, stop):
            alone.append(((start, stop), why))
            continue
        payloads = bench.others(start, 5)
        expected = [bench.case.program.segment(start, stop)(payload) for payload in payloads]
        made = bench.joint(name, start, stop)(payloads)
        errors = [difference(a, b) for a, b in zip(made, expected, strict=True)]
        if not max(errors) <= TOLERANCE:
            broken.append((start, stop, max(errors)))
    assert broken == []
    whole = (0, bench.n) in [bounds for bounds, _ in alone]
    assert whole == (bench.name in NEVER_WHOLE[name]), alone
    if bench.name in ("UNet", "alexnet", "mobilenet_v2", "TwoAtOnce"):
        assert alone == []


def test_seven_requests_alone_and_together_at_every_cut_of_alexnet():
    """The pictures themselves, through two batches with a cut between them."""
    bench = Bench("alexnet")
    pictures = bench.others(0, 7)
    whole = [bench.case.program.segment(0, bench.n)(list(picture)) for picture in pictures]
    for cut in range(bench.n + 1):
        made = bench.joint("torch", cut, bench.n)(bench.joint("torch", 0, cut)(pictures))
        assert max(map(difference, made, whole)) <= TOLERANCE


def test_what_looks_across_the_batch_is_told_by_a_bit():
    """Its answers are within the tolerance; beside another neighbour it is another number."""
    why = Bench("Hinted").why_not("torch", 0, 3)
    assert "another answer beside another request" in why


def test_a_model_of_one_size_says_so():
    with pytest.raises(RuntimeUnavailableError, match="exported for these sizes only"):
        _ = Bench("OneSize").twos


def test_a_model_that_draws_numbers():
    drops = case_of(Dropping(), [torch.randn(1, 6)])
    engine = TorchEngine(drops.program, drops.workload.forms, 1)
    with pytest.raises(RuntimeUnavailableError, match="draws random numbers"):
        engine.forms_of_two(None, unslotted)


def test_a_value_that_requests_have_to_share():
    bench = Bench("Temperature")
    joint = bench.joint("torch", 0, bench.n)
    a, b = torch.randn(1, 5), torch.randn(1, 5)
    t = torch.tensor(3.0)
    expected = [bench.case.program.segment(0, bench.n)([x, t]) for x in (a, b)]
    for one, wanted in zip(joint([[a, t], [b, t.clone()]]), expected, strict=True):
        assert difference(one, wanted) <= 1e-6
    with pytest.raises(RuntimeUnavailableError, match="not the same in all of them"):
        joint([[a, t], [b, t + 1]])


def test_a_payload_of_another_form_is_named():
    bench = Bench("alexnet")
    joint, x = bench.joint("torch", 0, bench.n), torch.randn(1, 3, 64, 64)
    with pytest.raises(RuntimeUnavailableError, match="another shape, dtype or number"):
        joint([[x], [torch.randn(1, 3, 64, 32)]])
    with pytest.raises(EdgeSplitError, match="takes 1 values, given 2"):
        joint([[x], [x, x]])


def test_payloads_in_another_layout_are_laid_out_alike():
    bench = Bench("alexnet")
    joint = bench.joint("torch", 0, bench.n)
    x, y = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64)
    given = [[x], [y.contiguous(memory_format=torch.channels_last)]]
    expected = [bench.case.program.segment(0, bench.n)([one]) for one in (x, y)]
    assert max(map(difference, joint(given), expected)) <= TOLERANCE


@pytest.mark.parametrize("name", ["UNet", "alexnet", "Tied", "Masked"])
def test_a_graph_tells_what_torch_finds_by_running(name):
    """Where there is no torch, its sizes are all there is."""
    bench = Bench(name)
    along = [
        [axes(compared(one, two)) for one, two in zip(bench.forms, twos, strict=True)]
        for twos in (bench.twos, forms_of_two(bench.case.graph))
    ]
    assert along[0] == along[1]


@pytest.mark.parametrize("name", ["UNet", "alexnet", "Tied"])
def test_arrays_run_together_as_tensors_do(name):
    bench = Bench(name)
    given = [[np.asarray(value) for value in payload] for payload in bench.others(0, 3)]
    alone = bench.case.runtimes["onnx"].prepare(0, bench.n)
    made = bench.joint("onnx", 0, bench.n)(given)
    assert all(isinstance(value, np.ndarray) for payload in made for value in payload)
    assert max(map(difference, made, [alone(payload) for payload in given])) <= TOLERANCE
