"""Small models, each with one thing that makes cutting hard."""

import dataclasses
from typing import NamedTuple

import torch
from torch import nn


class UNet(nn.Module):
    """Skips that cross many cuts."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([_block(3, 8), _block(8, 16), _block(16, 32)])
        self.up = nn.ModuleList([_block(48, 16), _block(24, 8)])
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.down[0](x)
        b = self.down[1](nn.functional.max_pool2d(a, 2))
        c = self.down[2](nn.functional.max_pool2d(b, 2))
        y = self.up[0](torch.cat([nn.functional.interpolate(c, scale_factor=2.0), b], 1))
        y = self.up[1](torch.cat([nn.functional.interpolate(y, scale_factor=2.0), a], 1))
        return self.head(y)


def _block(inputs, outputs):
    norm = nn.BatchNorm2d(outputs)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), norm, nn.ReLU(inplace=True))


class DictResult(nn.Module):
    """A dict with a nested tuple, a repeated tensor, an int, None and an input passed through."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        hidden = torch.relu(self.first(x))
        logits = self.second(hidden)
        return {
            "logits": logits,
            "more": (hidden, logits),
            "input": x,
            "classes": 3,
            "mask": None,
        }


class SharedBuffer(nn.Module):
    """A buffer that both halves read."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.register_buffer("scale", torch.linspace(0.5, 2.0, 6))
        self.register_buffer("shift", torch.linspace(-1.0, 1.0, 6), persistent=False)

    def forward(self, x):
        x = self.first(x) * self.scale + self.shift
        return torch.relu(self.second(x)) * self.scale - self.shift


class Aliased(nn.Module):
    """Writes through a view of a value that is used afterwards: wrong if split as written."""

    def forward(self, x):
        y = x * 2
        view = y.view(-1)
        view.add_(1)
        return y + view.view_as(y)


class InPlace(nn.Module):
    """In-place operations, slices written into, and no_grad inside."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        with torch.no_grad():
            x = self.first(x)
        mask = x.new_zeros(6)
        mask[:3].fill_(2.0)
        x[:, 1:4] *= 3
        x.relu_()
        return self.second(x).add_(mask).mul_(x)


class Attention(nn.Module):
    """Layers whose output strides follow their input's."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        return self.encoder(x).mean(1)


class Tied(nn.Module):
    """One weight used as embedding and as output layer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.middle = nn.Linear(8, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(torch.tanh(self.middle(self.embedding(tokens))))


class Branching(nn.Module):
    """Does something else for batches above 4, for odd ones and for one."""

    def forward(self, x):
        x = x + 1 if x.shape[0] > 4 else x * 2
        x = x - 3 if x.shape[0] == 1 else x / 5
        return torch.relu(x) if x.shape[0] % 2 else torch.sigmoid(x)


class Keywords(nn.Module):
    """Nested arguments, keywords, one that is None and one that is not used."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, pair, *, scale, unused=None, bias=None):
        y = self.linear(pair["left"]) * scale + pair["right"][0]
        return y if bias is None else y + bias


class Point(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@dataclasses.dataclass
class Scores:
    logits: torch.Tensor
    inner: tuple


@dataclasses.dataclass
class Inner:
    hidden: torch.Tensor


class Typed(nn.Module):
    """A dataclass that holds a namedtuple and another dataclass."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        y = self.linear(x)
        return Scores(y.relu(), (Point(y, y + 1), Inner(y * 2)))


class Control(nn.Module):
    """torch.cond: both branches travel."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        x = x * 2
        x = torch.cond(x.sum() > 0, lambda t: self.left(t).relu(), lambda t: self.right(t), (x,))
        return x + 1


class Spectrum(nn.Module):
    """Conjugation, which torch only notes in a flag of the tensor."""

    def forward(self, x):
        spectrum = torch.fft.rfft(x).conj()
        return spectrum.imag, (spectrum * 2).real


class Recurrent(nn.Module):
    """An LSTM: three outputs of one operator, weights kept in a list."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)

    def forward(self, x):
        return self.lstm(x)


class Several(nn.Module):
    """Operators with several outputs, whose parts are used far from each other."""

    def forward(self, x):
        a, b, c = torch.split(x * 2, 2, dim=1)
        top, index = torch.topk(a + 1, 1, dim=1)
        return torch.cat([b.sin(), top, index.float(), c.cos()], 1), x.shape[0] * 2
