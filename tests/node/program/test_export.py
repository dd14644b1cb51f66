"""export(): which batches it accepts, that the caller's model stays untouched, and its refusals."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sample_models as samples
import torch
from split_law import broken_splits, close, same_bits
from torch import nn
from torch._higher_order_ops.while_loop import while_loop

from edgesplit.errors import ExportError, InputError, PlanError, RequestError
from edgesplit.node.program.export.model import confirms, export, export_snapshot
from edgesplit.node.program.export.snapshot import take_snapshot
from edgesplit.node.program.profiler import graph_of, payload_forms
from edgesplit.node.program.program import is_random
from edgesplit.node.program.shipping import pack, unpack


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


class Untraceable(nn.Module):
    """torch.export sees another branch than a call."""

    def forward(self, x):
        return x * (2 if torch.compiler.is_exporting() else 3)


class UntraceableAttention(Untraceable):
    """Attention carries the mark of operators that draw numbers."""

    def forward(self, x):
        return nn.functional.scaled_dot_product_attention(x, x, super().forward(x))


def test_what_is_exported_gives_the_models_result():
    """Also where an operator may draw numbers, but does not."""
    for model in (Untraceable(), UntraceableAttention()):
        with pytest.raises(ExportError, match="gives another result than the model"):
            export(model, (torch.rand(2, 3, 6),))


def test_later_inputs_are_judged_too():
    """Where an export would take them by its guards, but the model does otherwise."""
    snapshot = take_snapshot(UntraceableAttention())
    x = torch.zeros(2, 3, 6)  # anything times zero is zero
    exported = export_snapshot(snapshot, (x,))
    assert confirms(exported, snapshot, (torch.zeros(3, 3, 6),))
    assert exported.accepts((torch.rand(3, 3, 6),))
    assert not confirms(exported, snapshot, (torch.rand(3, 3, 6),))


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


class Sampled(nn.Module):
    """One result depends on draws, the other on the input alone."""

    def __init__(self, factor=1):
        super().__init__()
        self.linear, self.factor = nn.Linear(6, 6), factor

    def forward(self, x):
        y = self.linear(x)
        if torch.compiler.is_exporting():
            y = y * self.factor
        return y + torch.randn(x.shape), y


def test_random_models_are_compared_too():
    """As far as draws do not decide: with the same seed, else in what they leave alone."""
    exported = export(Sampled(), (torch.rand(2, 6),))
    assert is_random(exported.program)
    with pytest.raises(ExportError, match="gives another result than the model"):
        export(Sampled(2), (torch.rand(2, 6),))


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda x: nn.functional.scaled_dot_product_attention(x, x, x), False),
        (lambda x: nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5), True),
        (lambda x: nn.functional.dropout(x * 2, 0.5, False), False),
        (lambda x: nn.functional.dropout(x * 2, 0.0, True), False),
        (lambda x: nn.functional.dropout(x * 2, 0.5, True), True),
        (lambda x: nn.functional.rrelu(x * 2), False),
        (lambda x: x + torch.rand(x.shape), True),
        (lambda x: torch.bernoulli(x), True),
        (
            lambda x: torch.cond(
                x.sum() > 0, lambda t: t * torch.rand(3, 6), lambda t: t.sin(), (x,)
            ),
            True,
        ),
    ],
)
def test_what_draws_numbers(forward, expected):
    class Model(nn.Module):
        def forward(self, x):
            return forward(x)

    assert is_random(export(Model(), (torch.rand(2, 3, 6),)).program) == expected


def test_recurrent_layers_draw_nothing():
    model = nn.LSTM(6, 8, num_layers=2, dropout=0.5, batch_first=True)
    x = torch.rand(1, 5, 6)
    assert not is_random(export(model, (x,)).program)
    assert is_random(export(model, (x,), mode="as-is").program)


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


class Looping(nn.Module):
    """torch's while_loop, whose condition returns a single value and whose body reads a weight."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        def body(count, y):
            return count + 1, torch.sin(self.linear(y))

        return while_loop(lambda count, y: count < 5, body, (torch.tensor(0), x * 2))[1] + 1


@pytest.mark.parametrize("make", [Looping, samples.Control])
def test_control_flow_is_one_layer(make):
    model, x = make(), torch.rand(2, 6)
    exported = export(model, (x,))
    assert len({"while_loop", "cond"} & set(exported.program.layers)) == 1
    assert close(run(exported, x), model(x))
    assert broken_splits(exported, (x,)) == []
    assert unpack(pack(exported.program)).fingerprint == exported.program.fingerprint


class Mapped(nn.Module):
    """torch.func.vmap inside."""

    def forward(self, x):
        return torch.func.vmap(lambda row: row.sin() * 2)(x)


def test_vmap_inside():
    x = torch.rand(2, 6)
    assert same_bits(run(export(Mapped(), (x,)), x), Mapped()(x))


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


class Sparse(nn.Module):
    """Holds a sparse buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.eye(6).to_sparse())

    def forward(self, x):
        return torch.sparse.mm(self.table, x.t())


class Gradient(nn.Module):
    """autograd inside forward."""

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(torch.tanh(x).sum(), x)[0]


class DynamicCache:
    """As transformers return it."""


class Decoder(nn.Module):
    """Returns a cache beside its answer."""

    def forward(self, x):
        return {"logits": x * 2, "past_key_values": DynamicCache()}


class Ragged(nn.Module):
    """Returns a nested tensor."""

    def forward(self, x):
        return torch.nested.nested_tensor([x[0], x[1, :3]])


class Array(nn.Module):
    """Leaves torch."""

    def forward(self, x):
        return torch.from_numpy(x.detach().numpy() * 2) + x


def quantized():
    return torch.ao.quantization.quantize_dynamic(
        nn.Sequential(nn.Linear(6, 6)), {nn.Linear}, dtype=torch.qint8
    )


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Counting, "changes its own state in forward: calls"),
        (Undecided, "cannot capture Undecided: .*data-dependent"),
        (Lazy, "computes nothing"),
        (Locked, "cannot be copied"),
        (lambda: torch.relu, "torch.nn.Module is needed, given builtin_function_or_method"),
        (lambda: nn.Linear(6, 6, device="meta"), "weight is on the meta device; load"),
        (lambda: torch.jit.script(nn.Linear(6, 6)), "TorchScript.*give the nn.Module"),
        (
            lambda: nn.Sequential(torch.jit.trace(nn.Linear(6, 6), torch.ones(2, 6))),
            "0 is TorchScript",
        ),
        (quantized, r"0 \(Linear\) is quantised.*before torch.ao.quantization"),
        (Sparse, "table of Sparse is a torch.sparse_coo tensor.*to_dense"),
        (Gradient, "computes gradients in forward"),
        (Decoder, "holds a DynamicCache.*use_cache=False"),
        (Ragged, "not dense.*to_padded_tensor"),
        (Array, "cannot capture Array: .*numpy"),
    ],
)
def test_models_that_cannot_be_split(make, words):
    with pytest.raises(ExportError, match=words):
        export(make(), (torch.ones(2, 6),))


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
        (("text",), {}, "itself rejects these inputs \\('text'\\)"),
        ((torch.eye(3).to_sparse(),), {}, r"dense tensors.*sparse_coo.*to_dense\(\)"),
    ],
)
def test_inputs_that_the_model_rejects(args, kwargs, words):
    with pytest.raises(InputError, match=words):
        export(nn.Linear(6, 6), args, kwargs)


class Alone(nn.Module):
    """Takes nothing."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3))

    def forward(self):
        return self.weight * 2


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_inputs_of_other_kinds():
    x = torch.ones(2, 6)
    for given in (
        torch.nested.nested_tensor([x, x]),
        torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
    ):
        with pytest.raises(InputError, match="dense tensors"):
            export(nn.Linear(6, 6), (given,))


def test_no_inputs():
    with pytest.raises(InputError, match=r"Alone was given no tensor.*call the model itself"):
        export(Alone(), ())


def test_flatten_refuses_other_inputs():
    exported = export(nn.Linear(6, 6), (torch.ones(2, 6),))
    with pytest.raises(InputError, match=r"float32\[any, 6\], given float32\[2, 7\]"):
        exported.flatten((torch.ones(2, 7),))
    assert not exported.accepts(("text",))


class Narrowed(nn.Module):
    """A size that depends on values: refused by torch, which prints its graph."""

    def forward(self, x):
        return x[:, : x.shape[1] // int(x.abs().mean(0).topk(1).indices[0] + 1)] * 2


def test_nothing_is_printed_of_what_is_refused(capfd):
    with pytest.raises(ExportError):
        export(Narrowed(), (torch.rand(2, 24),))
    assert capfd.readouterr().err == ""


class SparseInside(nn.Module):
    """A sparse matrix on the way."""

    def forward(self, x):
        return torch.sparse.mm(x.relu().to_sparse(), x.t())


def test_what_cannot_travel_is_refused_by_the_layer_that_makes_it():
    exported = export(SparseInside(), (torch.rand(6, 6),))
    with pytest.raises(ExportError, match="to_sparse makes a sparse tensor"):
        payload_forms(exported.program, exported.flatten((torch.rand(6, 6),)))
