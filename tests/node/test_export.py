"""export(): which batches it accepts, that the caller's model stays untouched, and its refusals."""

import copy
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sample_models as samples
import torch
from split_law import close, same_bits
from torch import nn

from edgesplit.errors import ExportError, InputError, PlanError, RequestError
from edgesplit.node.model import export
from edgesplit.node.profiler import graph_of, payload_forms


def graph_at(exported, *args):
    forms = payload_forms(exported.program, exported.flatten(args))
    return graph_of("model", exported.program, forms)


def run(exported, *args, **kwargs):
    """The model's result by way of the whole program."""
    segment = exported.program.segment(0, len(exported.program))
    return exported.unflatten(segment(exported.flatten(args, kwargs)))


@pytest.mark.parametrize("given", [1, 2, 3])
@pytest.mark.parametrize("make", [samples.SharedBuffer, samples.DictResult, samples.InPlace])
def test_batch_varies(make, given):
    model = make().eval()
    exported = export(model, (torch.randn(given, 6),))
    for batch in (1, 2, 5):
        x = torch.randn(batch, 6)
        assert exported.accepts((x,))
        assert close(run(exported, x), model(x.clone()))
    assert not exported.accepts((torch.randn(0, 6),))
    assert not exported.accepts((torch.randn(2, 7),))
    assert not exported.accepts((torch.randn(2, 6).double(),))


@pytest.mark.parametrize(
    ("given", "accepted"), [(1, {1}), (2, {2, 4}), (3, {3}), (5, {5, 7, 9}), (6, {6, 8})]
)
def test_accepts_only_where_a_branching_model_does_the_same(given, accepted):
    model = samples.Branching()
    exported = export(model, (torch.randn(given, 6),))
    batches = {batch for batch in range(1, 10) if exported.accepts((torch.randn(batch, 6),))}
    assert batches == accepted
    for batch in batches:
        x = torch.randn(batch, 6)
        assert close(run(exported, x), model(x))


class OtherAlone(nn.Module):
    """Returns another structure for a batch of one, of the same values."""

    def forward(self, x):
        x = x * 2
        return (x,) if x.shape[0] == 1 else [x]


def test_two_threads_may_export_at_once():
    """torch.export traces in variables of the process."""
    models = [nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)) for _ in range(4)]
    x = torch.ones(2, 4)
    with ThreadPoolExecutor(4) as pool:
        exported = list(pool.map(lambda model: export(model, (x,)), models))
    for model, one in zip(models, exported, strict=True):
        assert close(run(one, x), model(x))


@pytest.mark.parametrize("model", [samples.Branching(), OtherAlone()])
def test_batch_one_is_tried(model):
    exported = export(model, (torch.randn(2, 6),))
    assert exported.accepts((torch.randn(4, 6),))
    assert not exported.accepts((torch.randn(1, 6),))
    x = torch.randn(1, 6)
    assert same_bits(run(export(model, (x,)), x), model(x))


class Fixed(nn.Module):
    """Works on a batch of 3 only."""

    def forward(self, x):
        return x * torch.arange(3.0).view(3, 1)


def test_fixed_batch():
    exported = export(Fixed(), (torch.ones(3, 2),))
    assert exported.accepts((torch.ones(3, 2),))
    assert not exported.accepts((torch.ones(2, 2),))


class Remembers(nn.Module):
    """Its result depends on how often it was called."""

    def forward(self, x):
        return x * (2 + next(COUNTER))


COUNTER = itertools.count()


def test_what_is_exported_gives_the_models_result():
    with pytest.raises(ExportError, match="gives another result than the model"):
        export(Remembers(), (torch.ones(2, 6),))


def test_two_inputs_of_one_batch():
    model = nn.Bilinear(6, 6, 4)
    x = torch.randn(1, 6)
    exported = export(model, (x, x))
    a, b = torch.randn(3, 6), torch.randn(3, 6)
    assert exported.accepts((a, b))
    assert close(run(exported, a, b), model(a, b))
    assert not exported.accepts((a, b[:2]))
    assert not exported.accepts((a, b[:1]))


def test_keywords_nested_none_and_unused():
    model = samples.Keywords()
    pair = {"left": torch.randn(2, 6), "right": (torch.randn(2, 6),)}
    scale, unused = torch.randn(2, 6), torch.randn(50, 3)
    exported = export(model, (pair,), {"scale": scale, "unused": unused, "bias": None})
    assert len(exported.flatten((pair,), {"unused": unused, "bias": None, "scale": scale})) == 3
    assert close(
        run(exported, pair, bias=None, unused=unused, scale=scale), model(pair, scale=scale)
    )
    assert not exported.accepts((pair,), {"scale": scale, "unused": unused, "bias": scale})
    assert not exported.accepts((pair,), {"scale": scale})
    swapped = {"right": pair["right"], "left": pair["left"]}
    assert not exported.accepts((swapped,), {"scale": scale, "unused": unused, "bias": None})


def test_input_layouts():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)).eval()
    x = torch.randn(2, 3, 8, 8)
    last = x.to(memory_format=torch.channels_last)
    for example in (x, last, x[:1].expand(2, 3, 8, 8)):
        exported = export(model, (example,))
        for given in (x, last, x.transpose(2, 3), x.double().float()):
            assert close(run(exported, given), model(given))


def test_dataclass_in_namedtuple():
    model = samples.Typed()
    x = torch.randn(2, 6)
    result = run(export(model, (x,)), x)
    assert isinstance(result, samples.Scores)
    point, inner = result.inner
    assert isinstance(point, samples.Point)
    assert isinstance(inner, samples.Inner)
    assert close(point.y, model(x).inner[0].y)


def test_results_are_ordinary_tensors():
    model = samples.DictResult().train()
    x = torch.randn(1, 6)
    result = run(export(model, (x,)), x)
    assert result["classes"] == 3
    assert result["mask"] is None
    assert result["more"][1] is result["logits"]
    assert torch.equal(result["input"], x)
    result["logits"].add_(1).requires_grad_()


class GivesBuffer(nn.Module):
    """Returns a buffer and a constant."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.arange(3.0))

    def forward(self, x):
        return x + 1, self.table, torch.ones(2)


def test_constant_results_do_not_travel():
    model = GivesBuffer()
    exported = export(model, (torch.zeros(1),))
    first = run(exported, torch.zeros(1))
    first[1].add_(5)
    first[2].add_(5)
    assert same_bits(run(exported, torch.zeros(1)), model(torch.zeros(1)))
    assert graph_at(exported, torch.zeros(1)).payload_bytes == (4, 4)


def test_callers_model_is_untouched():
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))
    model.train()
    model[2].eval()
    model[0].weight.requires_grad_(False)
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    state = copy.deepcopy(model.state_dict())
    tensors = [*model.parameters(), *model.buffers()]
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    export(model, (torch.randn(1, 6),))
    assert [m.training for m in model] == [True, True, False, True]
    assert all(
        a is b for a, b in zip(tensors, [*model.parameters(), *model.buffers()], strict=True)
    )
    assert same_bits(dict(model.state_dict()), dict(state))
    assert [p.requires_grad for p in model.parameters()] == [False, *[True] * 5]
    assert len(model[0]._forward_hooks) == 1
    assert {name: set(vars(module)) for name, module in model.named_modules()} == attributes
    assert all(p.grad is None for p in model.parameters())


def test_weights_are_shared_with_the_model():
    model = nn.Linear(6, 6)
    exported = export(model, (torch.randn(1, 6),))
    pointers = {weight.data_ptr() for weight in exported.program.weights}
    assert pointers == {model.weight.data_ptr(), model.bias.data_ptr()}


def test_constants_are_folded_and_dropout_is_gone():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.dropout = nn.Linear(6, 6), nn.Dropout(0.5)

        def forward(self, x):
            mask = torch.tril(torch.ones(6, 6)).sum(0) * 2
            return self.dropout(self.linear(x)).to(torch.float32) * mask

    exported = export(Masked(), (torch.randn(1, 6),))
    assert exported.program.layers == ("linear.linear", "mul")


def test_inputs_stay_as_they_are_even_where_the_model_writes_to_them():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 6))
    x = torch.randn(2, 6)
    before = x.clone()
    result = run(export(model, (x,)), x)
    assert torch.equal(x, before)
    assert close(result, model(x.clone()))


def test_random_operators_are_not_folded():
    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.rand(6)

    exported = export(Noisy(), (torch.zeros(2, 6),))
    assert not torch.equal(run(exported, torch.zeros(2, 6)), run(exported, torch.zeros(2, 6)))


def test_graph_counts_bytes():
    class Sizes(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 3)

        def forward(self, x):
            return self.linear(x).repeat(x.shape[0], 2), x

    graph = graph_at(export(Sizes(), (torch.randn(2, 6),)), torch.randn(5, 6))
    assert graph.name == "model"
    assert graph.payload_bytes[0] == 5 * 6 * 4
    assert graph.payload_bytes[1] == 5 * 6 * 4 + 5 * 3 * 4 + 8
    assert graph.payload_bytes[-1] == 25 * 6 * 4 + 5 * 6 * 4
    assert graph.weight_bytes[0] == (6 * 3 + 3) * 4


def test_segments():
    program = export(samples.SharedBuffer(), (torch.randn(1, 6),)).program
    values = [torch.randn(1, 6)]
    assert program.segment(0, 0)(values)[0] is values[0]
    assert program.segment(0, 2) is program.segment(0, 2)
    with pytest.raises(PlanError, match="no layers 2-1"):
        program.segment(2, 1)
    with pytest.raises(RequestError, match="takes 1 values, given 2"):
        program.segment(0, 1)(values * 2)


def test_segments_are_built_while_others_run():
    exported = export(samples.UNet().eval(), (torch.randn(1, 3, 16, 16),))
    program, values = exported.program, exported.flatten((torch.randn(1, 3, 16, 16),))
    whole = program.segment(0, len(program))
    expected, results = whole(values), []

    def work(cut):
        results.append(program.segment(cut, len(program))(program.segment(0, cut)(values)))

    threads = [threading.Thread(target=work, args=(cut,)) for cut in range(len(program))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(results) == len(program)
    assert all(close(result, expected) for result in results)


class Counting(nn.Module):
    """Counts its calls."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x + self.calls


class Undecided(nn.Module):
    """Branches on what the data says."""

    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class Lazy(nn.Module):
    """Computes nothing."""

    def forward(self, x):
        return x


class Locked(nn.Module):
    """Cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Counting(), "changes its own state in forward: calls"),
        (Undecided(), "cannot capture Undecided: .*data-dependent"),
        (Lazy(), "computes nothing"),
        (Locked(), "cannot be copied"),
        (torch.relu, "torch.nn.Module is needed, given builtin_function_or_method"),
        (nn.Linear(6, 6, device="meta"), "meta device"),
    ],
)
def test_models_that_cannot_be_split(model, words):
    with pytest.raises(ExportError, match=words):
        export(model, (torch.ones(2, 6),))


def test_buffers_are_not_changed_by_trying():
    model = Counting()
    with pytest.raises(ExportError):
        export(model, (torch.ones(2, 6),))
    assert model.calls == 0


def test_export_error_keeps_torchs_own():
    with pytest.raises(ExportError) as caught:
        export(Undecided(), (torch.ones(2, 6),))
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((torch.ones(2, 5),), {}, r"float32\[2, 5\].*mat1 and mat2"),
        ((torch.ones(2, 6).int(),), {}, r"int32\[2, 6\]"),
        ((), {}, "nothing.*missing 1 required"),
        ((torch.ones(2, 6), torch.ones(1)), {}, "takes 2 positional"),
        ((torch.ones(2, 6),), {"mask": torch.ones(1)}, "unexpected keyword"),
        (("text",), {}, "must be dense tensors, or None.*given str 'text'"),
        ((3,), {}, "given int 3"),
        ((torch.eye(3).to_sparse(),), {}, "dense tensors"),
    ],
)
def test_inputs_that_the_model_rejects(args, kwargs, words):
    with pytest.raises(InputError, match=words):
        export(nn.Linear(6, 6), args, kwargs)


def test_flatten_refuses_other_inputs():
    exported = export(nn.Linear(6, 6), (torch.ones(2, 6),))
    with pytest.raises(InputError, match=r"float32\[any, 6\], given float32\[2, 7\]"):
        exported.flatten((torch.ones(2, 7),))
    with pytest.raises(InputError, match="given str"):
        exported.accepts(("text",))
