"""State that a model keeps between calls: refused by name where answers depend on it."""

import collections
import itertools
import random

import pytest
import torch
from split_law import close
from torch import nn

from edgesplit.errors import ExportError
from edgesplit.node.program.export.model import export


class Part(nn.Module):
    """What the models here have in common."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.kept = None


class LastFrame(Part):
    def forward(self, x):
        y = self.linear(x) + (0 if self.kept is None else self.kept)
        self.kept = x
        return y


class Difference(Part):
    """Two calls in a row on one input answer the same."""

    def forward(self, x):
        y = self.linear(x - (x if self.kept is None else self.kept))
        self.kept = x
        return y


class Frames(Part):
    def __init__(self):
        super().__init__()
        self.frames = collections.deque(maxlen=3)

    def forward(self, x):
        self.frames.append(x)
        return self.linear(sum(self.frames))


class Alternating(Part):
    """After two calls all is as it was."""

    def __init__(self):
        super().__init__()
        self.flag = False

    def forward(self, x):
        self.flag = not self.flag
        return self.linear(x) * (2 if self.flag else 1)


class EveryTenth(Part):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.linear(x) * (2 if self.calls % 10 == 0 else 1)


class ScaledByFirst(Part):
    """Every call after the first answers the same to the same input."""

    def forward(self, x):
        if self.kept is None:
            self.kept = x.abs().max()
        return self.linear(x / self.kept)


class Memory(Part):
    """A tensor that is no buffer, written in place."""

    def __init__(self):
        super().__init__()
        self.memory = torch.zeros(2, 4)

    def forward(self, x):
        return self.linear(self.memory.mul_(0.9).add_(x))


class Holder:
    """Somebody else's object."""

    def __init__(self):
        self.values = [None]


class Nested(Part):
    def __init__(self):
        super().__init__()
        self.holder = Holder()

    def forward(self, x):
        y = self.linear(x) + (0 if self.holder.values[0] is None else self.holder.values[0])
        self.holder.values[0] = y
        return y


class OfTheClass(Part):
    count = 0

    def forward(self, x):
        OfTheClass.count += 1
        return self.linear(x) * OfTheClass.count


TOTAL = 0


class OfTheModule(Part):
    def forward(self, x):
        global TOTAL
        TOTAL += 1
        return self.linear(x) * TOTAL


class Average(Part):
    """A buffer that is replaced, not written."""

    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.zeros(4))

    def forward(self, x):
        self.average = 0.5 * self.average + x.mean(0)
        return self.linear(x) + self.average


class OnlyOnce(Part):
    def forward(self, x):
        if self.kept is not None:
            raise RuntimeError("already called")
        self.kept = True
        return self.linear(x)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (LastFrame, "kept"),
        (Difference, "kept"),
        (Frames, "frames"),
        (Alternating, "flag"),
        (EveryTenth, "calls"),
        (ScaledByFirst, "kept"),
        (Memory, "memory"),
        (Nested, "holder"),
        (OfTheClass, "OfTheClass.count"),
        (OfTheModule, "test_kept_state.TOTAL"),
        (Average, "average"),
        (OnlyOnce, "kept"),
    ],
)
def test_refused_by_name(make, name):
    model = nn.Sequential(nn.ReLU(), make()).eval()
    path = name if "." in name else f"1.{name}"
    with pytest.raises(ExportError, match=rf"changes its own state in forward: {path};.*input"):
        export(model, (torch.rand(2, 4),))


class Chance(Part):
    def forward(self, x):
        return self.linear(x) * random.random()


class Counted(Part):
    def forward(self, x):
        return self.linear(x) * (2 + next(COUNTER))


COUNTER = itertools.count()


@pytest.mark.parametrize("make", [Chance, Counted])
def test_what_no_attribute_shows(make):
    with pytest.raises(ExportError, match="another result to the same inputs from call to call"):
        export(make().eval(), (torch.rand(2, 4),))


class Harmless(Part):
    """A counter that nobody reads, the last activation, a cache by size, a growing log."""

    def __init__(self):
        super().__init__()
        self.calls, self.sizes, self.log = 0, {}, []
        self.register_buffer("calls_too", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.calls_too += 1
        self.log.append(tuple(x.shape))
        size = x.shape[1]
        if size not in self.sizes:
            self.sizes[size] = torch.linspace(0.0, 1.0, size)
        self.kept = self.linear(x) + self.sizes[size]
        return self.kept.relu()


def with_tap():
    seen = {}
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model[0].register_forward_hook(lambda module, args, result: seen.update(last=result))
    return model


@pytest.mark.parametrize("make", [Harmless, with_tap])
def test_what_never_tells_goes_through(make):
    model, x = make().eval(), torch.rand(2, 4)
    exported = export(model, (x,))
    values = exported.program.segment(0, len(exported.program))(exported.flatten((x,)))
    assert close(exported.unflatten(values), model(x))


def test_first_input_of_zeros():
    """It can tell nothing: every value of another call would be zero too."""
    with pytest.raises(ExportError, match="kept"):
        export(ScaledOnce().eval(), (torch.zeros(2, 4),))


class LastTokens(Part):
    """The same answer to the same tokens, however often."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)

    def forward(self, tokens):
        y = self.embedding(tokens).mean(1)
        mixed = y if self.kept is None else 0.5 * y + 0.5 * self.kept
        self.kept = y
        return mixed


@pytest.mark.parametrize("tokens", [torch.zeros(1, 5).long(), torch.tensor([[1, 2, 1]])])
def test_tokens_that_read_the_same_backwards(tokens):
    with pytest.raises(ExportError, match="kept"):
        export(LastTokens().eval(), (tokens,))


class ScaledOnce(Part):
    def forward(self, x):
        if self.kept is None:
            self.kept = 1 + x.abs().max()
        return self.linear(x / self.kept)


class Last(nn.Module):
    """Adds its last input to its answer."""

    def __init__(self):
        super().__init__()
        self.last = None

    def forward(self, x):
        y = x * 2 + (0 if self.last is None else self.last)
        self.last = x
        return y


def test_state_that_holds_the_example_already():
    model, x = Last(), torch.rand(1, 4)
    model(x)
    with pytest.raises(ExportError, match=r"changes its own state in forward: last\b"):
        export(model, (x,))
