"""An export that was kept is the export, in program, answers and guards; or it is not used."""

import logging

import pytest
import sample_models as samples
import torch
from split_law import same_bits
from torch import nn

from edgesplit.node.program.export import kept_exports
from edgesplit.node.program.export.kept_exports import KeptExports
from edgesplit.node.program.export.model import export_snapshot
from edgesplit.node.program.export.snapshot import take_snapshot
from edgesplit.node.program.program_file import DescribedProgram
from edgesplit.node.program.shipping import pack


class Both(nn.Module):
    """Two inputs of one batch, a plain value, a tree as the result."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x, y, by=1.0):
        return {"sum": self.linear(x) * by + y, "more": (y.flatten(1), [x.shape[0]])}


MODELS = {
    "unet": (samples.UNet, (torch.randn(1, 3, 16, 16),)),
    "tied": (samples.Tied, (torch.randint(0, 20, (1, 7)),)),
    "both": (Both, (torch.randn(3, 4), torch.randn(3, 4))),
    "buffer": (samples.SharedBuffer, (torch.randn(2, 6),)),
    "gru": (lambda: nn.GRU(4, 4, 2), (torch.randn(5, 2, 4),)),
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "exports"


def snapshot_of(make):
    return take_snapshot(make())


def exported_and_kept(folder, make, args):
    snapshot = snapshot_of(make)
    exports = KeptExports(folder, snapshot)
    assert exports.find(args, {}, ()) is None
    made = export_snapshot(snapshot, args, {}, ())
    exports.keep(made, args, {}, ())
    return snapshot, made


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_same_export(folder, name):
    make, args = MODELS[name]
    snapshot, made = exported_and_kept(folder, make, args)
    found = KeptExports(folder, snapshot).find(args, {}, ())
    assert DescribedProgram.of(pack(found.program)).name == (
        DescribedProgram.of(pack(made.program)).name
    )
    assert found.signature == made.signature
    assert (found.out_tree, found.written) == (made.out_tree, made.written)
    program = found.program
    results = program.segment(0, len(program))(found.flatten(args))
    expected = made.program.segment(0, len(program))(made.flatten(args))
    assert same_bits(found.unflatten(results), made.unflatten(expected))


def test_other_weights_are_the_model_of_now(folder):
    make, args = MODELS["both"]
    exported_and_kept(folder, make, args)
    torch.manual_seed(7)
    snapshot = snapshot_of(make)
    found = KeptExports(folder, snapshot).find(args, {}, ())
    values = found.program.segment(0, len(found.program))(found.flatten(args))
    with torch.no_grad():
        assert torch.equal(found.unflatten(values)["sum"], snapshot(*args)["sum"])


def test_what_was_computed_from_other_weights_is_not_used(folder):
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.full((3,), 1e-3))

        def forward(self, x):
            return x * (self.a * self.b)

    args = (torch.randn(2, 3),)
    snapshot, made = exported_and_kept(folder, Product, args)
    assert KeptExports(folder, snapshot).find(args, {}, ()) is not None
    with torch.no_grad():
        snapshot.b.mul_(1 + 1e-6)  # less than a check by answers could see
    assert len(made.program.weights) == 1, "the product is computed once, at export"
    assert KeptExports(folder, snapshot).find(args, {}, ()) is None


def test_guards_hold_as_they_did(folder):
    make, args = MODELS["both"]
    snapshot, made = exported_and_kept(folder, make, args)
    found = KeptExports(folder, snapshot).find(args, {}, ())
    for given in [(7, 7), (7, 8), (1, 1)]:
        inputs = [torch.randn(n, 4) for n in given]
        assert found.accepts(inputs) == made.accepts(inputs)
    assert found.accepts([torch.randn(7, 4)] * 2)
    assert not found.accepts([torch.randn(7, 4), torch.randn(8, 4)])


def test_another_call_finds_nothing(folder):
    make, (x, y) = MODELS["both"]
    snapshot, _ = exported_and_kept(folder, make, (x, y))
    exports = KeptExports(folder, snapshot)
    assert exports.find((x, y), {"by": 2.0}, ()) is None
    assert exports.find((x.double(), y), {}, ()) is None
    assert exports.find((x[:2], y[:2]), {}, ()) is None
    assert exports.find((x, x), {}, ()) is None
    assert exports.find((x, y), {}, [{0, 1}, {0}]) is None
    with torch.autocast("cpu"):
        assert exports.find((x, y), {}, ()) is None
    assert exports.find((x, y), {}, ()) is not None


def test_one_that_answers_otherwise_is_not_used(folder, monkeypatch):
    """As though the key had missed something that forward looks at."""
    monkeypatch.setattr(kept_exports, "model_key", lambda model: "0" * 64)
    make, args = MODELS["both"]
    exported_and_kept(folder, make, args)

    class Other(Both):
        def forward(self, x, y, by=1.0):
            found = super().forward(x, y, by)
            return {**found, "sum": found["sum"] + 1}

    assert KeptExports(folder, snapshot_of(Other)).find(args, {}, ()) is None
    assert KeptExports(folder, snapshot_of(make)).find(args, {}, ()) is not None


def changed(data):
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("damage", [changed, lambda data: data[:50], lambda _: b""])
def test_damage_is_found_and_the_export_made_anew(folder, damage, caplog):
    make, args = MODELS["both"]
    snapshot, made = exported_and_kept(folder, make, args)
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    exports = KeptExports(folder, snapshot)
    with caplog.at_level(logging.WARNING, kept_exports.__name__):
        assert exports.find(args, {}, ()) is None
    assert "cannot be used and is made anew" in caplog.text
    exports.keep(made, args, {}, ())
    assert exports.find(args, {}, ()) is not None


@pytest.mark.parametrize(
    "condition",
    [
        "__import__('os').system('true')",
        "L.__class__",
        "(lambda: 1)()",
        "[x for x in L]",
        "open(L)",
    ],
)
def test_a_condition_compares_sizes_and_does_nothing_else(condition):
    with pytest.raises(kept_exports.WireError, match="no condition on sizes"):
        kept_exports.require_sizes_only(condition)


def test_a_folder_that_others_write_to_is_left_alone(folder):
    make, args = MODELS["both"]
    snapshot, made = exported_and_kept(folder, make, args)
    folder.parent.chmod(0o777)
    exports = KeptExports(folder, snapshot)
    assert exports.find(args, {}, ()) is None
    before = sorted(folder.iterdir())
    exports.keep(made, args, {"by": 1.0}, ())
    assert sorted(folder.iterdir()) == before


def test_those_used_longest_ago_are_given_up(folder, monkeypatch):
    monkeypatch.setattr(kept_exports, "_MOST_KEPT", 2)
    make, (x, y) = MODELS["both"]
    snapshot, _ = exported_and_kept(folder, make, (x, y))
    exports = KeptExports(folder, snapshot)
    for by in (2.0, 3.0):
        kwargs = {"by": by}
        exports.keep(export_snapshot(snapshot, (x, y), kwargs), (x, y), kwargs, ())
    assert len(list(folder.iterdir())) == 2
    assert exports.find((x, y), {}, ()) is None


def test_a_model_without_a_key_is_not_kept(folder):
    make, args = MODELS["both"]
    snapshot = snapshot_of(make)
    snapshot.linear.register_forward_hook(lambda *_: None)
    exports = KeptExports(folder, snapshot)
    exports.keep(export_snapshot(snapshot, args, {}, ()), args, {}, ())
    assert not folder.exists()
