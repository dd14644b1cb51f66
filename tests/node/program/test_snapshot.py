"""The snapshot, the watch on the model that it was taken of, and that the model stays untouched."""

import copy
import inspect
import sys

import pytest
import sample_models as samples
import torch
from split_law import close, same_bits
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from edgesplit.config import Config
from edgesplit.errors import ConfigError, ExportError
from edgesplit.node.program.export.kept_state import changes
from edgesplit.node.program.export.model import export, export_snapshot
from edgesplit.node.program.export.model_watch import ModelWatch
from edgesplit.node.program.export.snapshot import parts_in_training, take_snapshot

X = torch.rand(2, 6)
INPUTS = {
    samples.UNet: torch.rand(1, 3, 16, 16),
    samples.Attention: torch.rand(1, 5, 16),
    samples.Tied: torch.randint(0, 20, (1, 7)),
    samples.Recurrent: torch.rand(1, 5, 6),
}
SAMPLES = [
    kind
    for _, kind in inspect.getmembers(samples, inspect.isclass)
    if issubclass(kind, nn.Module) and kind is not samples.Keywords
]


def run(exported, *args):
    values = exported.program.segment(0, len(exported.program))(exported.flatten(args))
    return exported.unflatten(values)


@pytest.mark.parametrize("make", SAMPLES)
@pytest.mark.parametrize("is_training", [True, False])
def test_the_callers_model_is_untouched(make, is_training):
    """Bit for bit, attribute for attribute, and so is the random generator."""
    model, x = make().train(is_training), INPUTS.get(make, X).clone()
    before, x_before = copy.deepcopy(model), x.clone()
    tensors = [*model.parameters(), *model.buffers()]
    versions = [tensor._version for tensor in tensors]
    hooks = [len(module._forward_hooks) for module in model.modules()]
    random_state = torch.get_rng_state()
    export(model, (x,))
    assert changes(before, model) == ()
    assert [type(m) for m in model.modules()] == [type(m) for m in before.modules()]
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    after = [*model.parameters(), *model.buffers()]
    assert all(a is b for a, b in zip(tensors, after, strict=True))
    assert [tensor._version for tensor in tensors] == versions
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert torch.equal(x, x_before)
    assert torch.equal(torch.get_rng_state(), random_state)


def test_it_has_memory_of_its_own():
    model = samples.SharedBuffer()
    snapshot = take_snapshot(model)
    expected = model(X)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.mul_(3)
    assert not close(model(X), expected)
    assert same_bits(snapshot(X), expected)
    assert same_bits(run(export_snapshot(snapshot, (X,)), X), expected)


def test_all_exports_hold_each_weight_once():
    snapshot = take_snapshot(samples.SharedBuffer())
    one, other = export_snapshot(snapshot, (X,)), export_snapshot(snapshot, (X[None],))
    places = [{w.data_ptr() for w in exported.program.weights} for exported in (one, other)]
    assert places[0] == places[1]
    assert places[0] <= {t.data_ptr() for t in (*snapshot.parameters(), *snapshot.buffers())}


class Views(nn.Module):
    """A part in two places, a buffer that is a view of another, a tensor with a history."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.same = self.linear
        self.register_buffer("table", torch.rand(4, 6))
        self.register_buffer("row", self.table[1])
        self.scaled = self.linear.weight * 2
        self.plain = torch.rand(6)

    def forward(self, x):
        return self.same(x) @ self.scaled + self.row * self.plain


def test_what_shares_memory_still_does():
    model = Views()
    snapshot = take_snapshot(model)
    assert snapshot.same is snapshot.linear
    assert snapshot.row.untyped_storage().data_ptr() == snapshot.table.untyped_storage().data_ptr()
    assert same_bits(snapshot(X), model(X))
    assert close(run(export_snapshot(snapshot, (X,)), X), model(X))


@pytest.mark.parametrize(
    "make",
    [
        lambda: parametrizations.spectral_norm(nn.Linear(6, 6)).eval(),
        lambda: parametrizations.weight_norm(nn.Linear(6, 6)),
        pytest.param(
            lambda: weight_norm(nn.Linear(6, 6)),
            marks=pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated"),
        ),
        lambda: torch.compile(nn.Linear(6, 6), backend="eager"),
        lambda: nn.DataParallel(nn.Linear(6, 6)),
    ],
)
def test_models_in_wrappers(make):
    model = make()
    inner = getattr(model, "_orig_mod", model)
    assert close(run(export(model, (X,)), X), inner(X))


def test_a_model_made_in_inference_mode():
    with torch.inference_mode():
        model = nn.Linear(6, 6)
        exported = export(model, (X,))
    assert close(run(exported, X), model(X))


# Modes


class OwnDropout(nn.Module):
    """A part of its own that looks at its mode."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.5, self.training)


def test_parts_left_in_training():
    model = nn.Sequential(
        nn.Linear(6, 6),
        nn.Dropout(0.5),
        nn.BatchNorm1d(6),
        OwnDropout(),
        nn.Dropout(0.0),
        nn.ReLU(),
    )
    assert parts_in_training(model) == ()  # nobody has called eval(), which is the default here
    model.eval()
    assert parts_in_training(model) == ()
    for part in model:
        part.train()
    assert parts_in_training(model) == ("1 (Dropout)", "2 (BatchNorm1d)", "3 (OwnDropout)")


def test_as_is():
    model = nn.Sequential(nn.Linear(6, 64), nn.Dropout(0.5), nn.Linear(64, 2)).eval()
    model[1].train()
    exported = export(model, (X,), mode="as-is")
    assert len({tuple(run(exported, X).flatten().tolist()) for _ in range(5)}) == 5
    assert not exported.accepts((X[:, :5],))
    plain = export(model, (X,))
    assert same_bits(run(plain, X), model.eval()(X))


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.InstanceNorm1d])
def test_batch_statistics_as_is(norm):
    """Running statistics are written and never read: the answers depend on the batch alone."""
    model = nn.Sequential(nn.Conv1d(6, 6, 1), norm(6, track_running_stats=True)).train()
    x = torch.rand(3, 6, 5)
    exported = export(model, (x,), mode="as-is")
    for given in (x, torch.rand(4, 6, 5)):
        assert close(run(exported, given), copy.deepcopy(model)(given), 1e-4)


class Averages(nn.Module):
    """Batch statistics that the answer depends on."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x):
        return self.norm(x) + self.norm.running_mean


def test_as_is_with_state():
    with pytest.raises(ExportError, match=r"changes its own state in forward: .*running_mean"):
        export(Averages().train(), (X,), mode="as-is")


def test_mode_is_checked():
    with pytest.raises(ConfigError, match="mode is eval or as-is, given 'train'"):
        Config(mode="train")


def test_lazy_modules_are_not_initialised():
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU())
    with pytest.raises(ExportError, match=r"0\.weight.*lazy and has never run; call"):
        export(model, (X,))
    assert isinstance(model[0], nn.LazyLinear)
    model(X)
    assert close(run(export(model, (X,)), X), model(X))


# Depth


class Level(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.linear, self.inner = nn.Linear(2, 2), inner

    def forward(self, x):
        return self.inner(torch.tanh(self.linear(x)))


def nested(depth):
    model = nn.Identity()
    for _ in range(depth):
        model = Level(model)
    return model


def test_deep_nesting():
    model, x, limit = nested(170), torch.rand(1, 2), sys.getrecursionlimit()
    assert close(run(export(model, (x,)), x), model(x))
    assert sys.getrecursionlimit() == limit


def test_too_deep():
    with pytest.raises(ExportError, match="nested 600 deep, at most 500"):
        export(nested(600), (torch.rand(1, 2),))


# The watch


def changed_by(change):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)).eval()
    watch = ModelWatch(model, take_snapshot(model))
    assert watch.look() == ""
    change(model)
    return watch, model  # which has an owner


def trained(model):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(X).sum().backward()
    optimizer.step()


def replaced(model):
    model[2] = nn.Linear(6, 2)


def set_parameter(model):
    model[0].weight = nn.Parameter(torch.zeros(6, 6))


def set_data(model):
    model[0].weight.data = torch.zeros(6, 6)


def scaled_data(model):
    model[0].weight.data.mul_(2)


def loaded(model):
    model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()})


def extended(model):
    model.append(nn.Linear(2, 2))


def buffer_written(model):
    model[1].running_mean.add_(1)


def shortened(model):
    del model[2]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (trained, "0.weight"),
        (replaced, "2.weight"),
        (set_parameter, "0.weight"),
        (set_data, "0.weight"),
        (scaled_data, "0.weight"),
        (loaded, "0.weight"),
        (extended, "3.weight is new"),
        (buffer_written, "1.running_mean"),
        (shortened, "2.weight is gone"),
    ],
)
def test_a_change_is_said_once(change, name):
    watch, _model = changed_by(change)
    assert f"Sequential was changed after the first input ({name}" in (said := watch.look())
    assert "new EdgeSplit" in said
    assert watch.look() == ""


def same_values(model):
    model.load_state_dict({k: v.clone() for k, v in model.state_dict().items()})


def moved(model):
    model[0].weight.data = model[0].weight.data.clone()


def ran(model):
    model(X)
    model.train()
    model.eval()


@pytest.mark.parametrize("change", [same_values, moved, ran])
def test_the_same_values_are_no_change(change):
    watch, _model = changed_by(change)
    assert watch.look() == ""
    assert watch.look() == ""


def test_weights_of_inference_mode():
    with torch.inference_mode():
        model = nn.Linear(6, 6)
    watch = ModelWatch(model, take_snapshot(model))
    assert watch.look() == ""
    with torch.inference_mode():
        model.weight.mul_(2)
    assert "weight" in watch.look()
