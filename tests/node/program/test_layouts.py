"""Results are the model's bit for bit, at every cut, however inputs and payloads lie in memory."""

import random

import pytest
import torch
from random_models import RandomModel, drawn_input
from split_law import broken_splits, same_bits, through_wire
from torch import nn

from edgesplit.node.program import shipping
from edgesplit.node.program.export.model import export

SEEDS = range(40)

pytestmark = pytest.mark.usefixtures("one_thread")  # results depend on how many there are


def run(exported, *args):
    program = exported.program
    return exported.unflatten(program.segment(0, len(program))(exported.flatten(args)))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_models_at_every_cut(seed):
    draw = random.Random(seed)
    torch.manual_seed(seed)
    x = drawn_input(draw)
    model = RandomModel(draw, x).eval()
    exported = export(model, (x,))
    with torch.no_grad():
        assert same_bits(run(exported, x), model(x))
    assert broken_splits(exported, (x,)) == []


class Turned(nn.Module):
    """A linear layer on what is not contiguous: torch rounds by whether its weight is trained."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return self.inner(x.transpose(0, 1))


@pytest.mark.parametrize("is_trained", [True, False])
def test_weights_need_gradients_as_the_models_do_also_where_they_were_shipped(is_trained):
    torch.manual_seed(0)
    model = Turned().requires_grad_(is_trained)
    x = torch.rand(5, 6, 4)
    exported = export(model, (x,))
    shipped = shipping.unpack(shipping.pack(exported.program))
    assert {w.requires_grad for w in shipped.weights} == {is_trained}
    assert shipped.fingerprint == exported.program.fingerprint
    with torch.no_grad():
        expected = model(x)
    assert torch.equal(run(exported, x), expected)
    assert torch.equal(shipped.segment(0, len(shipped))([x])[0], expected)
    assert not run(exported, x).requires_grad


class Asks(nn.Module):
    """What it computes depends on how its input lies."""

    def forward(self, x):
        if x.is_contiguous(memory_format=torch.channels_last):
            return x * 2
        return x * 3 if x.is_contiguous() else x * x.stride(1)


def layouts_of(x):
    last = x.to(memory_format=torch.channels_last)
    wide = torch.randn(2, 3, 8, 16)
    return x, last, x.transpose(2, 3), wide[..., ::2], wide[..., :8], x[:1].expand(2, 3, 8, 8)


@pytest.mark.parametrize("at", range(6))
def test_a_forward_that_asks_sees_its_input_as_it_is(at):
    x = layouts_of(torch.randn(2, 3, 8, 8))[at]
    exported = export(Asks(), (x,))
    assert same_bits(run(exported, x), Asks()(x))
    assert [exported.accepts((other,)) for other in layouts_of(torch.randn(2, 3, 8, 8))] == [
        number == at for number in range(6)
    ]


@pytest.mark.parametrize("at", range(6))
def test_the_batch_varies_in_every_layout(at):
    x = layouts_of(torch.randn(2, 3, 8, 8))[at]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)).eval()
    one = x[:1]
    exported = export(model, (one,))
    with torch.no_grad():
        assert exported.accepts((x,))
        for given in (one, x):
            assert same_bits(run(exported, given), model(given))


def test_a_picture_that_was_turned_and_given_a_batch_keeps_its_odd_stride():
    """Of a dimension of size 1 it means nothing, but torch picks another convolution by it."""
    x = torch.randn(9, 8, 3).permute(2, 0, 1)[None]
    model = nn.Conv2d(3, 4, 3)
    exported = export(model, (x,))
    (payload,) = through_wire(exported.flatten((x,)))
    assert payload.stride() == x.stride() == (3, 1, 24, 3)
    with torch.no_grad():
        assert same_bits(run(exported, x), model(x))
