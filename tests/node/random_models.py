"""Random models of operators that change how a tensor lies, before operators that round by that."""

import random

import torch
from torch import nn

_STRIDED = {
    "transpose": lambda x, d: x.transpose(d, d - 1),
    "permute": lambda x, d: x.permute(d, d - 1, d - 2),
    "slice": lambda x, d: x.narrow(d, 1, x.shape[d] - 1),
    "every second": lambda x, d: x.movedim(d, 0)[::2].movedim(0, d),
    "expand": lambda x, d: x.narrow(d, 0, 1).expand(x.shape),
    "select": lambda x, d: x.select(d, 0)[None].expand(3, -1, -1),
    "unbind": lambda x, d: torch.stack(x.unbind(d)[:3]),
    "chunk": lambda x, d: x.chunk(2, d)[-1],
    "flip": lambda x, d: x.flip(d),
    "windows": lambda x, d: x.unfold(1, 2, 1).select(0, 0),
    "as it is": lambda x, d: x,
}
_PLAIN = {
    "softmax": lambda x: x.softmax(1),
    "bmm": lambda x: torch.bmm(x, x.mT),
    "einsum": lambda x: torch.einsum("abc,adc->abd", x, x),
    "attention": lambda x: nn.functional.scaled_dot_product_attention(x, x, x),
    "sum": lambda x: x + x.sum(1, keepdim=True),
    "gelu": nn.functional.gelu,
}


class _Recurrent(nn.Module):
    def __init__(self, kind, features, batch_first):
        super().__init__()
        self.inner = kind(features, 6, batch_first=batch_first)

    def forward(self, x):
        return self.inner(x)[0]


class _ChannelsLast(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.inner = nn.Conv2d(channels, 5, 3, padding=1)

    def forward(self, x):
        return self.inner(x[None].contiguous(memory_format=torch.channels_last))[0]


class _SelfAttention(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.before, self.inner = nn.Linear(features, 8), nn.MultiheadAttention(8, 2)

    def forward(self, x):
        x = self.before(x)
        return self.inner(x, x, x)[0]


_MODULES = {
    "linear": lambda x: nn.Linear(x.shape[2], 7),
    "linear without bias": lambda x: nn.Linear(x.shape[2], 8, bias=False),
    "conv1d": lambda x: nn.Conv1d(x.shape[1], 6, 3, padding=1),
    "conv2d": lambda x: _ChannelsLast(x.shape[0]),
    "gru": lambda x: _Recurrent(nn.GRU, x.shape[2], True),
    "lstm": lambda x: _Recurrent(nn.LSTM, x.shape[2], False),
    "multihead": lambda x: _SelfAttention(x.shape[2]),
    "norm": lambda x: nn.LayerNorm(x.shape[2]),
}


class RandomModel(nn.Module):
    """Some steps, drawn so that each can follow the one before; a linear layer at the end."""

    def __init__(self, draw: random.Random, x: torch.Tensor):
        super().__init__()
        self.steps, self.inner = [], nn.ModuleDict()
        for n in range(draw.randrange(2, 6)):
            self._append(_drawn_step(draw), x, n)
            x = self._run(x, self.steps[-1:])
            if draw.random() < 0.6:
                self._append((draw.choice([*_PLAIN, *_MODULES]), 0), x, n)
                x = self._run(x, self.steps[-1:])
        self.last = nn.Linear(x.shape[-1], 4)

    def forward(self, x):
        return self.last(self._run(x, self.steps))

    def _append(self, step, x, n):
        name, dim = step
        if name in _MODULES:
            self.inner[f"{n}"] = _MODULES[name](x).eval()
        self.steps.append((name, dim, f"{n}"))

    def _run(self, x, steps):
        for name, dim, key in steps:
            if name in _STRIDED:
                x = _STRIDED[name](x, dim) if min(x.shape) > 1 else x
            else:
                x = self.inner[key](x) if name in _MODULES else _PLAIN[name](x)
        return x


def _drawn_step(draw):
    return draw.choice(list(_STRIDED)), draw.randrange(3)


def drawn_input(draw: random.Random) -> torch.Tensor:
    """Three dimensions, dense in any order, a part of a larger tensor, or expanded."""
    x = torch.randn(draw.choice([2, 3, 5]), draw.choice([3, 4, 6]), draw.choice([4, 6, 9]))
    views = (x, x.transpose(0, 1), x.mT, x[:, :-1], x[:, :, ::2], x[:1].expand(3, -1, -1))
    return draw.choice(views)
