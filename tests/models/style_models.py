"""Ways of writing a module: hooks, parametrizations, outputs of many types, control flow."""

import collections
import contextlib
import dataclasses
from typing import NamedTuple

import torch
from model_row import ModelRow, images
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

SCALES = {"global": 2.5}


def small(n_in=6, n_out=4):
    """Two layers and an activation."""
    return nn.Sequential(nn.Linear(n_in, 8), nn.ReLU(), nn.Linear(8, n_out))


class Detected(NamedTuple):
    boxes: torch.Tensor
    count: int


@dataclasses.dataclass
class Report:
    logits: torch.Tensor
    hidden: tuple
    note: str = "fine"
    loss: torch.Tensor | None = None


class ManyTypes(nn.Module):
    """A dataclass around a named tuple, an ordered dict, strings, None, a repeated tensor."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        y = self.net(x)
        inner = collections.OrderedDict(first=y, again=y, size=y.shape[-1], name="net")
        return Report(y.softmax(-1), (Detected(y[:, :2], 3), inner, [True, 0.5, None]))


class ManyInputs(nn.Module):
    """Nested dicts, lists and None as arguments; keywords with defaults."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, batch, extra=None, *, scale):
        x = batch["x"] + batch["more"][0] * batch["more"][1]["weight"]
        if extra is not None:
            x = x + extra
        return self.net(x) * scale


class Hooked(nn.Module):
    """Forward hooks that change inputs and outputs, and one that only looks."""

    def __init__(self):
        super().__init__()
        self.net, self.out = small(), nn.Linear(4, 2)
        self.net[0].register_forward_pre_hook(lambda _, given: (given[0] * 2,))
        self.net.register_forward_hook(lambda _module, _given, result: result + 1)
        self.out.register_forward_hook(lambda *_: None)

    def forward(self, x):
        return self.out(self.net(x))


class Parametrized(nn.Module):
    """Weights computed from others: spectral, orthogonal, one's own, weight norm of old."""

    def __init__(self):
        super().__init__()
        parametrize, score_reference = nn.utils.parametrize, nn.utils.parametrizations
        self.spectral = score_reference.spectral_norm(nn.Linear(6, 6))
        self.orthogonal = score_reference.orthogonal(nn.Linear(6, 6))
        self.symmetric = nn.Linear(6, 6)
        parametrize.register_parametrization(self.symmetric, "weight", Symmetric())

    def forward(self, x):
        return self.symmetric(torch.tanh(self.orthogonal(torch.tanh(self.spectral(x)))))


class Symmetric(nn.Module):
    """The upper triangle, mirrored."""

    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)


class Pruned(nn.Module):
    """Masks that prune leaves on the weights, and hooks that apply them."""

    def __init__(self):
        super().__init__()
        self.net = small()
        prune.l1_unstructured(self.net[0], "weight", amount=0.5)
        prune.ln_structured(self.net[2], "weight", amount=0.5, n=2, dim=0)

    def forward(self, x):
        return self.net(x)


class Tied(nn.Module):
    """One linear layer used as encoder and, transposed, as decoder; one module run three times."""

    def __init__(self):
        super().__init__()
        self.net, self.again = nn.Linear(6, 4), nn.Linear(4, 4)

    def forward(self, x):
        h = torch.tanh(self.net(x))
        for _ in range(3):
            h = torch.tanh(self.again(h)) + h
        return F.linear(h, self.net.weight.t())


class Complex(nn.Module):
    """Complex weights, inputs and outputs; conjugates, angles and a view as real."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4, dtype=torch.cfloat))

    def forward(self, x):
        y = x @ self.weight
        y = torch.polar(F.relu(y.abs() - 0.1), y.angle())
        return y, y.conj() * 1j, torch.view_as_real(y), y.imag


class Conditional(nn.Module):
    """torch.cond on a value, and Python branches on shapes and on None."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        x = x * 2 if x.dim() == 2 and x.shape[1] > 4 else x
        x = torch.cond(x.mean() > 0, self._up, self._down, (x,))
        return x.sigmoid()

    def _up(self, x):
        return self.left(x) + 1

    def _down(self, x):
        return self.right(x) - 1


class While(nn.Module):
    """A loop that goes on while values say so, by torch's operator."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 4)

    def forward(self, x):
        from torch._higher_order_ops.while_loop import while_loop

        _, x = while_loop(
            lambda i, _: i < 5, lambda i, x: (i + 1, x.sin()), (torch.tensor(0), self.net(x))
        )
        return x


class Scan(nn.Module):
    """torch's associative_scan stand-in: cumulative operators of all kinds."""

    def forward(self, x):
        return x.cumsum(0), x.sigmoid().cumprod(1), x.cummax(1), x.logcumsumexp(1), x.diff(dim=1)


class InPlace(nn.Module):
    """Writes into slices, masks, views and its own input."""

    def __init__(self):
        super().__init__()
        self.net = small(6, 6)

    def forward(self, x):
        x[:, 0] = 0
        y = self.net(x)
        y[y < 0] = 0.1
        y[:, ::2].mul_(3).add_(x[:, ::2])
        z = torch.zeros_like(y)
        z[torch.arange(len(y)), y.argmax(1)] = 1
        z.scatter_(1, torch.zeros_like(y[:, :1], dtype=torch.long), 5.0)
        y.view(-1)[:3] += 1
        return y.clamp_(max=4), z, x


class Masked(nn.Module):
    """Selects rows by a mask: the size of the result depends on values."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        return self.net(x[x[:, 0] > 0])


class Padded(nn.Module):
    """nonzero, written back into a result of known size."""

    def __init__(self):
        super().__init__()
        self.net = small(6, 6)

    def forward(self, x):
        rows = (x[:, 0] > 0).nonzero().squeeze(1)
        return x.index_copy(0, rows, self.net(x[rows]))


class Discrete(nn.Module):
    """Integers and bools in and out: bits, divisions, sorting, histograms, unfolding."""

    def forward(self, x, flags):
        counts = F.one_hot(x % 8, 8).sum(1)
        bits = (x.unsqueeze(-1) >> torch.arange(4)) & 1
        ordered, places = x.sort(dim=1, stable=True)
        halves = torch.div(x, 3, rounding_mode="floor"), torch.remainder(-x, 3), x.float().round()
        return counts, bits.bool() ^ flags[..., None], ordered, places, halves, x.to(torch.uint8)


class ZeroDims(nn.Module):
    """Inputs and outputs of no dimension, and plain numbers of each kind."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x, t):
        y = x * self.scale + t
        return y.sum(), y.max() > t, y.numel(), float(len(y)), y.norm()


class Mixed(nn.Module):
    """bfloat16 inside, float32 outside; what autocast would write, by hand."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8).bfloat16(), nn.Linear(8, 3)

    def forward(self, x):
        return self.second(F.gelu(self.first(x.bfloat16())).float())


class Autocast(nn.Module):
    """Its own autocast region."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.net(x)
        return y.float() + 1, y


class ChannelsLast(nn.Module):
    """Weights and input in channels_last, the answer in plain order."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)
        ).to(memory_format=torch.channels_last)

    def forward(self, x):
        return self.net(x.to(memory_format=torch.channels_last)).contiguous().flatten(1)


class Strided(nn.Module):
    """Asks for strides and contiguity of what it gets."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 4)

    def forward(self, x):
        y = self.net(x.transpose(0, 1))
        if not x.is_contiguous():
            y = y * 2
        return y.as_strided((3, 4), (1, 4)) + y.stride(0)


class Straight(torch.autograd.Function):
    """Rounds forwards, does nothing backwards."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return torch.round(x * scale) / scale

    @staticmethod
    def backward(ctx, grad):
        return grad, None


class CustomFunction(nn.Module):
    """One's own autograd function, as quantisation-aware training has it."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        return Straight.apply(self.net(Straight.apply(x, 16.0)), 64.0)


class Checkpointed(nn.Module):
    """Activation checkpointing around both halves."""

    def __init__(self):
        super().__init__()
        self.first, self.second = small(6, 6), small(6, 6)

    def forward(self, x):
        x = checkpoint(self.first, x, use_reentrant=False)
        return x + checkpoint(self.second, x, use_reentrant=False)


class Functional(nn.Module):
    """vmap over an ensemble's stacked weights, functional_call inside."""

    def __init__(self):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(5, 3, 6)), nn.Parameter(torch.randn(5, 3))
        self.net = small(3, 2)

    def forward(self, x):
        votes = torch.func.vmap(lambda w, b: F.linear(x, w, b))(self.w, self.b)
        doubled = {name: value * 2 for name, value in self.net.named_parameters()}
        return torch.func.functional_call(self.net, doubled, (votes.mean(0),))


class Reshapes(nn.Module):
    """What einops writes: rearrange, reduce and repeat in plain torch, movedim, unflatten, roll."""

    def forward(self, x):
        b, c, h, w = x.shape
        y = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).flatten(1, 2)
        y = y.flatten(2).movedim(1, 0).unflatten(-1, (-1, c)).mean(2)
        z = x.amax((2, 3))[:, :, None].repeat(1, 1, 3).roll(1, 1).swapaxes(1, 2)
        return torch.hstack([y.transpose(0, 1), z]), torch.tensor_split(z, 2, dim=1)


class ReadsGlobals(nn.Module):
    """A module's global, a class attribute, an attribute that is a plain list."""

    factor = 3

    def __init__(self):
        super().__init__()
        self.net, self.shifts = small(), [0.5, 1.5]

    def forward(self, x):
        return self.net(x) * SCALES["global"] * self.factor + sum(self.shifts)


class Nested(nn.Module):
    """ModuleDict, ParameterList, Identity, modules in a plain list, a non-persistent buffer."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({"a": nn.Linear(6, 6), "b": nn.Identity(), "c": nn.PReLU()})
        self.gains = nn.ParameterList([torch.ones(6), torch.full((6,), 0.5)])
        self.order = ["a", "c", "b", "a"]
        self.plain = [nn.Linear(6, 6), nn.Tanh()]
        self.register_buffer("shift", torch.arange(6.0), persistent=False)

    def forward(self, x):
        for name, gain in zip(self.order, [*self.gains, *self.gains], strict=True):
            x = self.parts[name](x) * gain + self.shift
        for module in self.plain:
            x = module(x)
        return x


class Wrapper(nn.Module):
    """Hands everything on through getattr and *args, under no_grad and a context of its own."""

    def __init__(self):
        super().__init__()
        self.wrapped = nn.DataParallel(small())

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("wrapped"), name)

    def forward(self, *args, **kwargs):
        with torch.no_grad(), contextlib.suppress(KeyError):
            return self.module(*args, **kwargs)


class Losses(nn.Module):
    """Returns a loss where it gets labels, as transformers' models do."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x, labels=None):
        logits = self.net(x)
        out = {"logits": logits}
        if labels is not None:
            out["loss"] = F.cross_entropy(logits, labels, ignore_index=-100, label_smoothing=0.1)
            out["right"] = (logits.argmax(-1) == labels).float().mean()
        return out


class Noisy(nn.Module):
    """Draws in eval mode on purpose: functional dropout that is always on, gumbel softmax."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        y = self.net(F.dropout(x, 0.3, training=True))
        return F.gumbel_softmax(y, hard=True), torch.bernoulli(y.sigmoid())


class Normed(nn.Module):
    """Every norm and activation that people take, in one row."""

    def __init__(self):
        super().__init__()
        self.score_reference = nn.ModuleList(
            [
                nn.GroupNorm(2, 8),
                nn.InstanceNorm1d(8, affine=True),
                nn.LocalResponseNorm(2),
                nn.BatchNorm1d(8),
            ]
        )
        kinds = (
            nn.GELU,
            nn.Mish,
            nn.Hardswish,
            nn.ELU,
            nn.SELU,
            nn.CELU,
            nn.Softsign,
            nn.LogSigmoid,
        )
        self.acts = nn.ModuleList(kind() for kind in kinds)

    def forward(self, x):
        for norm in self.score_reference:
            x = norm(x)
        return torch.stack([act(x) for act in self.acts]).std(0)


class Deep(nn.Module):
    """A module within a module within a module."""

    def __init__(self, depth):
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.inner = Deep(depth - 1) if depth else nn.Tanh()

    def forward(self, x):
        return self.inner(torch.tanh(self.layer(x)))


class PlainArguments(nn.Module):
    """A float, an int, a bool and a text among the arguments."""

    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x, scale=1.0, repeats=1, is_normed=False, kind="relu"):
        for _ in range(repeats):
            x = x * scale
        y = getattr(torch, kind)(self.net(x))
        return y.softmax(-1) if is_normed else y


def compiled():
    """What torch.compile wraps; nothing is compiled before the first call."""
    return torch.compile(small(), backend="eager")


ROWS = [
    ModelRow("outputs of many types", ManyTypes, images(2, 6), images(3, 6)),
    ModelRow(
        "inputs in dicts, keyword-only",
        ManyInputs,
        lambda: {
            "batch": {
                "x": torch.randn(2, 6),
                "more": [torch.randn(2, 6), {"weight": torch.rand(6)}],
            },
            "extra": None,
            "scale": torch.rand(2, 1),
        },
    ),
    ModelRow("hooks that change values", Hooked, images(2, 6), images(1, 6)),
    ModelRow("spectral, orthogonal, one's own", Parametrized, images(2, 6), images(3, 6)),
    ModelRow("pruned", Pruned, images(2, 6)),
    ModelRow("tied weights and a module run thrice", Tied, images(1, 6), images(4, 6)),
    ModelRow(
        "complex in and out",
        Complex,
        lambda: (torch.randn(2, 6, dtype=torch.cfloat),),
        lambda: (torch.randn(3, 6, dtype=torch.cfloat),),
    ),
    ModelRow("torch.cond and branches on shapes", Conditional, images(2, 6), images(3, 6)),
    ModelRow("while_loop", While, images(2, 4), images(3, 4)),
    ModelRow("cumulative operators", Scan, images(3, 5)),
    ModelRow("in-place writes", InPlace, images(3, 6), images(2, 6)),
    ModelRow("rows by a mask", Masked, images(5, 6)),
    ModelRow("nonzero and index_copy", Padded, images(5, 6)),
    ModelRow(
        "integers and bools",
        Discrete,
        lambda: (torch.randint(0, 200, (2, 5)), torch.rand(2, 5) > 0.5),
        lambda: (torch.randint(0, 200, (4, 5)), torch.rand(4, 5) > 0.5),
    ),
    ModelRow("zero dimensions", ZeroDims, lambda: (torch.randn(3), torch.tensor(0.7))),
    ModelRow("bfloat16 inside", Mixed, images(2, 6), images(5, 6)),
    ModelRow(
        "all in bfloat16", lambda: small().bfloat16(), lambda: (torch.randn(2, 6).bfloat16(),)
    ),
    ModelRow("its own autocast", Autocast, images(2, 6)),
    ModelRow("channels_last", ChannelsLast, images(1, 3, 6, 6), images(2, 3, 6, 6)),
    ModelRow("asks for strides", Strided, images(3, 2, 4)),
    ModelRow("custom autograd function", CustomFunction, images(2, 6), images(3, 6)),
    ModelRow("checkpointing", Checkpointed, images(2, 6), images(3, 6)),
    ModelRow("vmap and functional_call", Functional, images(2, 6), images(3, 6)),
    ModelRow("reshapes as by einops", Reshapes, images(1, 3, 4, 4), images(2, 3, 4, 4)),
    ModelRow("reads globals", ReadsGlobals, images(2, 6)),
    ModelRow("containers of all sorts", Nested, images(2, 6), images(3, 6)),
    ModelRow("a wrapper with __getattr__", Wrapper, images(2, 6)),
    ModelRow(
        "a loss where there are labels",
        Losses,
        lambda: (torch.randn(4, 6), torch.tensor([0, 3, -100, 1])),
        lambda: (torch.randn(4, 6),),
    ),
    ModelRow("draws in eval mode", Noisy, images(2, 6), is_random=True),
    ModelRow("norms and activations", Normed, images(2, 8, 6), images(3, 8, 6)),
    ModelRow("nested 150 deep", lambda: Deep(150), images(2, 6)),
    ModelRow("torch.compile", compiled, images(2, 6), images(3, 6)),
    ModelRow(
        "plain arguments",
        PlainArguments,
        lambda: {
            "x": torch.randn(2, 6),
            "scale": 0.5,
            "repeats": 2,
            "is_normed": True,
            "kind": "tanh",
        },
        lambda: {"x": torch.randn(3, 6), "repeats": 3, "kind": "relu"},
    ),
]
