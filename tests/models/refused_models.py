"""Models that cannot be split, each refused in a sentence that says why and what to do."""

import itertools
import threading

import numpy as np
import torch
from model_row import ModelRow, images
from torch import nn
from torch.nn import functional as F


def small(n_in=6, n_out=4):
    """Two layers and an activation."""
    return nn.Sequential(nn.Linear(n_in, 8), nn.ReLU(), nn.Linear(8, n_out))


class Counting(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.net = small()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.net(x) / self.calls


class Streaming(nn.Module):
    """Keeps the last frame in a plain attribute."""

    def __init__(self):
        super().__init__()
        self.net, self.last = small(6, 6), None

    def forward(self, x):
        y = self.net(x) if self.last is None else self.net(x) + self.last
        self.last = x
        return y


class History(nn.Module):
    """Appends to a list of its own."""

    def __init__(self):
        super().__init__()
        self.net, self.seen = small(), []

    def forward(self, x):
        self.seen.append(x)
        return self.net(torch.stack(self.seen).mean(0))


class Counter(nn.Module):
    """Counts its calls in an integer."""

    def __init__(self):
        super().__init__()
        self.net, self.calls = small(), 0

    def forward(self, x):
        self.calls += 1
        return self.net(x) * self.calls


class Iterating(nn.Module):
    """Takes the next number of an iterator that it holds."""

    def __init__(self):
        super().__init__()
        self.net, self.numbers = small(), itertools.count(1)

    def forward(self, x):
        return self.net(x) * next(self.numbers)


class OwnWeights(nn.Module):
    """Normalises its own weight in place, as old GAN code does."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(6, 4)

    def forward(self, x):
        with torch.no_grad():
            self.net.weight.div_(self.net.weight.norm())
        return self.net(x)


class BatchStatistics(nn.Module):
    """Updates its running mean in eval mode too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))
        self.net = small()

    def forward(self, x):
        F.batch_norm(x, self.mean, torch.ones(6), training=True)
        return self.net(x - self.mean)


class BranchOnValue(nn.Module):
    """Python's `if` on what the data says."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        return self.net(x) if x.mean() > 0 else self.net(-x) * 2


class EarlyExit(nn.Module):
    """Stops after as many blocks as it is sure enough."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(small(6, 6) for _ in range(3))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
            if x.softmax(-1).max().item() > 0.6:
                break
        return x


class ThroughNumpy(nn.Module):
    """Leaves torch for numpy in the middle."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        y = self.net(x).detach().numpy()
        return torch.from_numpy(np.sort(y, axis=1))


class ToList(nn.Module):
    """A Python loop over the values."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        rows = [row[:2] if row[0] > 0 else row[2:] for row in self.net(x)]
        return torch.stack(rows)


class OwnResult(nn.Module):
    """Returns an object of its own class."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        return Outcome(self.net(x))


class Outcome:
    """No dataclass, no named tuple."""

    def __init__(self, logits):
        self.logits = logits


class Sparse(nn.Module):
    """A sparse buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.eye(6).to_sparse())

    def forward(self, x):
        return torch.sparse.mm(self.weight, x.t())


class SparseInside(nn.Module):
    """Makes a sparse matrix inside forward: every value that is cut is dense."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(6, 6)

    def forward(self, x):
        return torch.sparse.mm(F.relu(self.net(x)).to_sparse(), x.t())


class NoInput(nn.Module):
    """Takes nothing."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3))

    def forward(self):
        return self.weight * 2


class Locked(nn.Module):
    """Holds a lock."""

    def __init__(self):
        super().__init__()
        self.net, self.lock = small(), threading.Lock()

    def forward(self, x):
        with self.lock:
            return self.net(x)


class Untouched(nn.Module):
    """Rearranges its result and computes nothing."""

    def forward(self, x):
        return {"x": x}


class Rejecting(nn.Module):
    """Refuses every input itself."""

    def forward(self, x):
        raise ValueError("at least 4 channels are needed, given 3")


class Lazy(nn.Module):
    """Its layers do not know their width before the first input."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))

    def forward(self, x):
        return self.net(x)


def already_called():
    """A streaming model that its owner has tried on ones, which it is given next."""
    model = Streaming()
    with torch.no_grad():
        model(torch.ones(2, 6))
    return model


def ones():
    """What it was tried on."""
    return (torch.ones(2, 6),)


def scripted():
    """TorchScript."""
    return torch.jit.script(small())


def traced():
    """TorchScript by tracing."""
    return torch.jit.trace(small(), torch.rand(2, 6))


def quantised():
    """Dynamic int8 of eager mode."""
    return torch.ao.quantization.quantize_dynamic(small(), {nn.Linear}, dtype=torch.qint8)


ROWS = [
    ModelRow("a buffer that counts", Counting, images(2, 6), refused="own state in forward: calls"),
    ModelRow(
        "the last frame in an attribute",
        Streaming,
        images(2, 6),
        refused="own state in forward: last",
    ),
    ModelRow("a list that grows", History, images(2, 6), refused="own state in forward: seen"),
    ModelRow("an attribute that holds the input already", already_called, ones, refused="last"),
    ModelRow(
        "an integer that counts", Counter, images(2, 6), refused="own state in forward: calls"
    ),
    ModelRow("an iterator", Iterating, images(2, 6), refused="own state in forward: numbers"),
    ModelRow(
        "weights changed in forward",
        OwnWeights,
        images(2, 6),
        refused="own state in forward: net.weight",
    ),
    ModelRow(
        "running statistics in eval mode",
        BatchStatistics,
        images(4, 6),
        refused="own state in forward: mean",
    ),
    ModelRow("a branch on a value", BranchOnValue, images(2, 6), refused="data-dependent"),
    ModelRow("early exit", EarlyExit, images(2, 6), refused="data-dependent"),
    ModelRow("through numpy", ThroughNumpy, images(2, 6), refused="cannot capture ThroughNumpy"),
    ModelRow("a loop over values", ToList, images(2, 6), refused="data-dependent"),
    ModelRow(
        "a result of its own class", OwnResult, images(2, 6), refused="OwnResult holds a Outcome"
    ),
    ModelRow("a sparse buffer", Sparse, images(2, 6), refused="sparse"),
    ModelRow("sparse inside", SparseInside, images(6, 6), refused="sparse"),
    ModelRow("no input", NoInput, lambda: (), refused="given no tensor"),
    ModelRow("a lock", Locked, images(2, 6), refused="cannot be copied"),
    ModelRow("computes nothing", Untouched, images(2, 6), refused="computes nothing"),
    ModelRow("an input that it rejects", Rejecting, images(2, 6), refused="given 3"),
    ModelRow("lazy modules", Lazy, images(2, 3, 6, 6), refused="call the model once"),
    ModelRow("on the meta device", lambda: small().to("meta"), images(2, 6), refused="meta"),
    ModelRow("TorchScript", scripted, images(2, 6), refused="TorchScript"),
    ModelRow("TorchScript by tracing", traced, images(2, 6), refused="TorchScript"),
    ModelRow("dynamic int8", quantised, images(2, 6), refused="quantised in torch"),
    ModelRow("a sparse input", small, lambda: (torch.eye(6).to_sparse(),), refused="dense"),
    ModelRow(
        "a text as input", small, lambda: ("photo.jpg",), refused="rejects these inputs ..photo.jpg"
    ),
]
