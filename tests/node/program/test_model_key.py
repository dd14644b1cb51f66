"""The key of a model tells apart what forward may do differently, and nothing else."""

import functools
import random
import subprocess
import sys
import textwrap
import time

import pytest
import sample_models as samples
import torch
from torch import nn

from edgesplit.node.program.export.model_key import model_key

FACTOR = 2.0
TABLE = {"a": [1, 2]}


def doubled(x):
    return x * FACTOR


def halved(x):
    return x / FACTOR


class Scaled(nn.Module):
    def __init__(self, by=1.0, scale=doubled):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.by, self.scale = by, scale

    def forward(self, x):
        return self.scale(self.linear(x)) * self.by + len(TABLE)


def key(model):
    found = model_key(model)
    assert found
    return found


def test_weights_do_not_count_and_their_forms_do():
    assert key(Scaled()) == key(Scaled())
    half = Scaled()
    half.linear.weight.data = half.linear.weight.data.double()
    frozen = Scaled()
    frozen.linear.weight.requires_grad_(False)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    apart = key(tied)
    tied[1].weight = tied[0].weight
    assert len({key(Scaled()), key(half), key(frozen)}) == 3
    assert key(tied) != apart


def changed_attribute(model, patch):
    model.by = 2.0


def changed_function(model, patch):
    model.scale = halved


def changed_global(model, patch):
    patch.setitem(globals(), "FACTOR", 3.0)


def changed_table(model, patch):
    patch.setitem(TABLE, "a", [1, 3])


def changed_method(model, patch):
    patch.setattr(Scaled, "forward", lambda self, x: self.linear(x))


def changed_layer(model, patch):
    model.linear.forward = halved


def changed_part_of_torch(model, patch):
    model.scale = nn.functional.gelu


def another_module(model, patch):
    model.more = nn.ReLU()


def a_constant(model, patch):
    model.by = torch.tensor([1.0, 2.0, 3.0])


def another_constant(model, patch):
    model.by = torch.tensor([1.0, 2.0, 4.0])


def in_training(model, patch):
    model.train(not model.training)


def a_partial(model, patch):
    model.scale = functools.partial(torch.mul, other=2)


def a_closure(model, patch):
    by = 3
    model.scale = lambda x: x * by


def another_closure(model, patch):
    by = 4
    model.scale = lambda x: x * by


def test_each_change_makes_another_key(monkeypatch):
    changes = [
        changed_attribute, changed_function, changed_global, changed_table, changed_method,
        changed_layer, changed_part_of_torch, another_module, a_constant, another_constant,
        in_training, a_partial, a_closure, another_closure,
    ]  # fmt: skip
    keys = {"as it is": key(Scaled())}
    for change in changes:
        model = Scaled()
        with monkeypatch.context() as patch:
            change(model, patch)
            keys[change.__name__] = key(model)
    assert len(set(keys.values())) == len(keys), keys


def hooked():
    model = Scaled()
    model.linear.register_forward_hook(lambda *_: None)
    return model


def timed():
    return Scaled(scale=lambda x: x * time.time())


def drawing():
    return Scaled(scale=lambda x: x * random.random())


def reading():
    return Scaled(scale=lambda x: x * len(open("/proc/uptime").read()))


def importing():
    def scale(x):
        import os

        return x * len(os.environ)

    return Scaled(scale=scale)


def generating():
    return Scaled(by=iter([1.0]))


@pytest.mark.parametrize("make", [hooked, timed, drawing, reading, importing, generating])
def test_what_may_say_something_else_each_time_has_no_key(make):
    assert model_key(make()) is None


def test_hooks_of_all_modules_leave_none_a_key():
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert model_key(nn.ReLU()) is None
    finally:
        handle.remove()


def test_another_process_has_the_same_key():
    code = """
        from torch import nn
        from edgesplit.node.program.export.model_key import model_key
        layers = nn.Linear(3, 3), nn.GELU(), nn.MultiheadAttention(4, 2), nn.Conv2d(3, 3, (1, 2))
        print(model_key(nn.Sequential(*layers)))
    """
    run = [sys.executable, "-c", textwrap.dedent(code)]
    keys = {subprocess.run(run, capture_output=True, text=True, timeout=120).stdout for _ in "ab"}
    assert len(keys) == 1
    assert len(keys.pop().strip()) == 64


def test_sample_models_have_keys_of_their_own():
    kinds = (samples.UNet, samples.Tied, samples.SharedBuffer)
    assert len({key(kind().eval()) for kind in kinds}) == len(kinds)
