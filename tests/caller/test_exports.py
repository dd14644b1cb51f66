"""The exports of one model: of a model that nobody else needs, nothing is held but the copy."""

import gc
import itertools
import weakref

import torch
from torch import nn

from edgesplit.caller import exports as exports_module
from edgesplit.caller.call_arguments import CallArguments
from edgesplit.caller.exports import ModelExports
from edgesplit.node.program import shipping
from edgesplit.node.program.export.model import warm_up
from edgesplit.node.program.export.model_watch import GivenModel
from edgesplit.node.program.weight_file import storage_name


def at_once():
    """The tiers are ready."""


def test_a_model_that_its_owner_dropped_is_gone_after_the_first_export():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    gone = weakref.ref(model), weakref.ref(model[0].weight)
    numbers = itertools.count()
    exports = ModelExports(GivenModel(model), "eval", lambda: f"program-{next(numbers)}", at_once)
    x = torch.randn(3, 6)
    with torch.no_grad():
        expected = model(x)
    del model
    gc.collect()
    assert gone[0]() is not None, "its first input is still to come"
    exports.of(CallArguments((x,), {}))
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert exports.look() == ""
    again = exports.of(CallArguments((torch.randn(1, 6),), {})).exported
    program = again.program
    values = program.segment(0, len(program))(again.flatten((x,)))
    assert torch.equal(again.unflatten(values), expected)
    exports.close()


def test_a_session_that_starts_over_has_the_copy_of_a_model_that_is_gone():
    model, x = nn.Linear(6, 6).eval(), torch.randn(3, 6)
    with torch.no_grad():
        expected = model(x)
    given = GivenModel(model)
    del model
    for _ in range(2):
        exports = ModelExports(given, "eval", lambda: "program-0", at_once)
        exported = exports.of(CallArguments((x,), {})).exported
        values = exported.program.segment(0, 1)(exported.flatten((x,)))
        assert torch.equal(exported.unflatten(values), expected)
        exports.close()
        gc.collect()


def test_a_model_that_its_owner_keeps_is_watched():
    model = nn.Linear(6, 6)
    exports = ModelExports(GivenModel(model), "eval", lambda: "program-0", at_once)
    exports.of(CallArguments((torch.randn(3, 6),), {}))
    assert exports.look() == ""
    with torch.no_grad():
        model.weight.mul_(2)
    assert "weight" in exports.look()
    exports.close()


class Wide(nn.Module):
    """Large parameters: one that two layers share, one that lies in another order, one in part."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(600, 600), nn.Linear(600, 600)
        self.second.weight = self.first.weight
        self.turned = nn.Parameter(torch.randn(600, 600).t())
        self.part = nn.Parameter(torch.randn(700, 600)[:600])
        self.frozen = nn.Parameter(torch.randn(600, 600), requires_grad=False)

    def forward(self, x):
        y = self.second(self.first(x)) @ self.turned @ self.part
        return (y @ self.frozen).relu()


def test_the_copy_is_in_the_hosts_cache_and_the_models_bit_for_bit(monkeypatch):
    hashed = []

    def name_of(content):
        hashed.append(content.nbytes)
        return storage_name(content)

    for module in (exports_module, shipping):
        monkeypatch.setattr(module, "storage_name", name_of)
    model, x = Wide().eval(), torch.randn(3, 600)
    exports = ModelExports(GivenModel(model), "eval", itertools.count().__next__, at_once)
    one = exports.of(CallArguments((x,), {})).exported
    with torch.no_grad():
        expected = model(x)
        model.frozen.mul_(2)  # the copy is of before
    values = one.program.segment(0, len(one.program))(one.flatten((x,)))
    assert torch.equal(one.unflatten(values), expected)
    large = [n for n in hashed if n >= 1 << 20]
    assert len(large) == 4, "each once"
    with torch.autocast("cpu"):  # which needs an export of its own
        exports.of(CallArguments((x,), {}))
    assert [n for n in hashed if n >= 1 << 20] == large
    exports.close()


def test_a_kept_export_is_tried_once_the_tiers_are_ready():
    model, x, waited = nn.Linear(6, 7).eval(), torch.randn(3, 6), []
    for _ in range(2):
        exports = ModelExports(
            GivenModel(model), "eval", lambda: "program-0", lambda: waited.append(1)
        )
        exports.of(CallArguments((x,), {}))
        exports.close()
    assert waited == [1], "the first one is made while they start"


def test_warming_up_draws_none_of_the_programs_random_numbers():
    warm_up.cache_clear()  # it is done once in a process
    before = torch.get_rng_state()
    warm_up()
    assert torch.equal(torch.get_rng_state(), before)
