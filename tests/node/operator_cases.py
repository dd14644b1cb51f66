"""Small models of operators that ONNX Runtime or its exporter is known to do in a way of its own.

No case says what happens: either a runtime is right on every input, or it is not used.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


class Function(nn.Module):
    """A function as a model."""

    def __init__(self, function):
        super().__init__()
        self._function = function

    def forward(self, *args):
        return self._function(*args)


class Recurrent(nn.Module):
    """A recurrent layer: its sequence and its last state."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        y, state = self.layer(x)
        return y, *(state if isinstance(state, tuple) else (state,))


KINDS = ("near", "normal", "large", "coarse", "sparse", "nan", "infinite")


@dataclass(frozen=True)
class Image:
    """An input of floats."""

    shape: tuple
    dtype: torch.dtype = torch.float32

    def drawn(self, kind, generator):
        normal = torch.randn(self.shape, generator=generator)
        chosen = torch.rand(self.shape, generator=generator)
        drawn = {
            "near": chosen,
            "normal": normal,
            "large": 100 * normal,
            "coarse": (4 * normal).round() / 2,
            "sparse": normal * (chosen < 0.3),
            "nan": normal.masked_fill(chosen < 0.1, math.nan),
            "infinite": torch.where(chosen < 0.1, normal * math.inf, normal),
        }
        return drawn[kind].to(self.dtype)


@dataclass(frozen=True)
class Numbers:
    """An input of whole numbers in [low, high], or farther; valid: no model takes others."""

    shape: tuple
    low: int
    high: int
    dtype: torch.dtype = torch.int64
    valid: bool = False

    def drawn(self, kind, generator):
        low, high = self.low, self.high
        if not self.valid and kind in ("normal", "large", "sparse"):
            most, limits = 3 * max(abs(low), abs(high)), torch.iinfo(self.dtype)
            low, high = max(-most, limits.min), min(most, limits.max)
        return torch.randint(low, high + 1, self.shape, generator=generator).to(self.dtype)


@dataclass(frozen=True)
class Flags:
    """An input of booleans."""

    shape: tuple
    dtype: torch.dtype = torch.bool

    def drawn(self, kind, generator):
        share = {"near": 0.5, "normal": 0.3, "large": 0.9, "sparse": 0.02}.get(kind, 0.1)
        return torch.rand(self.shape, generator=generator) < share


@dataclass(frozen=True)
class OperatorCase:
    """A model by what makes it, and what its inputs are."""

    make: object
    inputs: tuple

    def model(self):
        torch.manual_seed(0)
        made = self.make()
        return (made if isinstance(made, nn.Module) else Function(made)).eval()

    def zeros(self):
        """What tells least: a warm-up input."""
        return [
            torch.zeros(one.shape, dtype=getattr(one, "dtype", torch.bool)) for one in self.inputs
        ]

    def inputs_of(self, kind, generator):
        return [one.drawn(kind, generator) for one in self.inputs]


IMAGE = Image((1, 3, 13, 9))
ROWS = Image((4, 12))
LONGS = Numbers((4, 6), 0, 9)


def function(f, *inputs):
    return OperatorCase(lambda: f, inputs or (ROWS,))


def module(make, *inputs):
    return OperatorCase(make, inputs or (IMAGE,))


def resized(**how):
    return function(lambda x: F.interpolate(x, **how), IMAGE)


SIZES = {
    "up": {"size": (32, 21)},
    "down": {"size": (5, 7)},
    "scale": {"scale_factor": 1.7},
    "recomputed": {"scale_factor": 1.7, "recompute_scale_factor": True},
    "smaller": {"scale_factor": (0.5, 0.6)},
}
MODES = {
    "nearest": ({"mode": "nearest"}, tuple(SIZES)),
    "nearest-exact": ({"mode": "nearest-exact"}, tuple(SIZES)),
    "bilinear": ({"mode": "bilinear"}, ("up", "scale", "recomputed", "smaller")),
    "bilinear-corners": ({"mode": "bilinear", "align_corners": True}, ("up", "scale")),
    "bilinear-antialias": ({"mode": "bilinear", "antialias": True}, ("down", "scale")),
    "bicubic": ({"mode": "bicubic"}, ("down", "scale")),
    "bicubic-corners": ({"mode": "bicubic", "align_corners": True}, ("up", "recomputed")),
    "bicubic-antialias": ({"mode": "bicubic", "antialias": True}, ("down", "smaller")),
    "area": ({"mode": "area"}, ("down",)),
}
RESIZES = {
    f"resize-{mode}-{size}": resized(**how, **SIZES[size])
    for mode, (how, sizes) in MODES.items()
    for size in sizes
}


def _scattered(x, index):
    return torch.zeros(4, 12).scatter_add(0, index % 4, x) * 2


def _put(x, index):
    return torch.zeros(4).index_put((index[:, 0] % 4,), x[:, 0], accumulate=True) + 1


def _put_over(x, index):
    return (x * 2).index_put((index[:, 0] % 4,), x[0], accumulate=False)


CASES = {
    **RESIZES,
    "resize-nearest-to-64": function(
        lambda x: F.interpolate(x, size=(64, 64), mode="nearest"), Image((1, 3, 26, 26))
    ),
    "resize-nearest-to-56": function(
        lambda x: F.interpolate(x, size=(56, 99), mode="nearest"), Image((1, 3, 23, 30))
    ),
    "resize-linear-1d": function(
        lambda x: F.interpolate(x, size=17, mode="linear"), Image((2, 3, 11))
    ),
    "resize-nearest-1d": function(lambda x: F.interpolate(x, size=29), Image((2, 3, 11))),
    "resize-trilinear": function(
        lambda x: F.interpolate(x, size=(5, 6, 7), mode="trilinear"), Image((1, 2, 3, 4, 5))
    ),
    "resize-nearest-3d": function(
        lambda x: F.interpolate(x, size=(5, 9, 7)), Image((1, 2, 3, 4, 5))
    ),
    "upsample-channels-last": module(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Upsample(scale_factor=1.5), nn.ReLU())
    ),
    "upsample-bilinear-conv": module(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Upsample(scale_factor=1.3, mode="bilinear"), nn.Conv2d(8, 2, 1)
        )
    ),
    "grid-sample": function(
        lambda x, g: F.grid_sample(x, g * 2 - 1, align_corners=False),
        IMAGE, Image((1, 5, 6, 2)),
    ),
    "grid-sample-nearest": function(
        lambda x, g: F.grid_sample(x, g * 2 - 1, mode="nearest", align_corners=True),
        IMAGE, Image((1, 5, 6, 2)),
    ),
    "grid-sample-bicubic-reflect": function(
        lambda x, g: F.grid_sample(
            x, g * 2 - 1, mode="bicubic", padding_mode="reflection", align_corners=False
        ),
        IMAGE, Image((1, 5, 6, 2)),
    ),
    # Division and remainder
    "int-floor-divide": function(lambda x: torch.div(x, 3, rounding_mode="floor"), LONGS),
    "int-trunc-divide": function(lambda x: torch.div(x, 3, rounding_mode="trunc"), LONGS),
    "int-floordiv-negative": function(lambda x: x // -4, LONGS),
    "int-true-divide": function(lambda x: x / 7, LONGS),
    "int-remainder": function(lambda x: x % 5, LONGS),
    "int-remainder-negative": function(lambda x: torch.remainder(x, -3), LONGS),
    "int-fmod": function(lambda x: torch.fmod(x, 3), LONGS),
    "int-fmod-negative": function(lambda x: torch.fmod(x, -3), LONGS),
    "int-divide-tensors": function(
        lambda x, y: x // (y.abs() + 1), LONGS, Numbers((4, 6), -3, 3)
    ),
    "int32-floor-divide": function(lambda x: x // 3, Numbers((4, 6), 0, 9, torch.int32)),
    "int8-floor-divide": function(lambda x: x // 3, Numbers((4, 6), 0, 9, torch.int8)),
    "uint8-floor-divide": function(lambda x: x // 3, Numbers((4, 6), 0, 255, torch.uint8)),
    "float-floor-divide": function(lambda x: torch.div(x * 5, 0.7, rounding_mode="floor")),
    "float-trunc-divide": function(lambda x: torch.div(x * 5, 0.7, rounding_mode="trunc")),
    "float-remainder": function(lambda x: (x * 5) % 0.7),
    "float-remainder-negative": function(lambda x: torch.remainder(x * 5, -1.5)),
    "float-fmod": function(lambda x: torch.fmod(x * 5, 1.5)),
    "float-remainder-of-tensors": function(lambda x, y: torch.remainder(x, y + 0.5), ROWS, ROWS),
    # Rounding
    "round": function(lambda x: torch.round(x * 4)),
    "round-as-it-is": function(lambda x: torch.round(x)),
    "round-decimals": function(lambda x: torch.round(x * 4, decimals=1)),
    "round-decimals-down": function(lambda x: torch.round(x * 400, decimals=-1)),
    "floor-ceil-trunc": function(lambda x: (x.floor(), x.ceil(), x.trunc(), x.frac())),
    "to-int": function(lambda x: (x * 10).to(torch.int64)),
    "to-int32": function(lambda x: (x * 10).int()),
    "to-uint8": function(lambda x: (x * 255).to(torch.uint8)),
    "to-int8": function(lambda x: (x * 100).to(torch.int8)),
    "to-bool": function(lambda x: x.bool()),
    "quantised-by-hand": function(
        lambda x: torch.clamp(torch.round(x / 0.1) + 3, 0, 255).sub(3).mul(0.1)
    ),
    "fake-quantise": function(
        lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 3, 0, 255)
    ),
    # Extremes
    "max-pool": function(lambda x: F.max_pool2d(x, 2), IMAGE),
    "max-pool-ceil": function(lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), IMAGE),
    "max-pool-ceil-no-padding": function(lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True), IMAGE),
    "max-pool-dilated": function(lambda x: F.max_pool2d(x, 2, 2, dilation=2), IMAGE),
    "max-pool-indices": function(
        lambda x: F.max_pool2d(x, 2, return_indices=True), IMAGE
    ),
    "max-pool-1d": function(lambda x: F.max_pool1d(x, 3, 2), Image((2, 3, 11))),
    "adaptive-max-pool": function(lambda x: F.adaptive_max_pool2d(x, (5, 4)), IMAGE),
    "adaptive-avg-pool": function(lambda x: F.adaptive_avg_pool2d(x, (5, 4)), IMAGE),
    "average-pool": function(lambda x: F.avg_pool2d(x, 2), IMAGE),
    "average-pool-ceil": function(lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True), IMAGE),
    "average-pool-ceil-padded": function(
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), IMAGE
    ),
    "average-pool-pad-left-out": function(
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False), IMAGE
    ),
    "average-pool-divisor": function(
        lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=5), IMAGE
    ),
    "lp-pool": function(lambda x: F.lp_pool2d(x, 2.0, 2), IMAGE),
    "unfold-fold": function(
        lambda x: F.fold(F.unfold(x, 3, padding=1), (13, 9), 3, padding=1), IMAGE
    ),
    "amax-amin": function(lambda x: (x.amax(1), x.amin(0))),
    "max-dim": function(lambda x: tuple(x.max(1))),
    "argmax": function(lambda x: (x.argmax(1), x.argmin(1))),
    "argmax-flat": function(lambda x: x.argmax()),
    "clamp": function(lambda x: x.clamp(0.2, 0.6)),
    "clamp-crossed": function(lambda x: x.clamp(0.6, 0.2)),
    "clamp-tensor": function(lambda x, y: torch.clamp(x, y, y + 0.1), ROWS, ROWS),
    "relu": function(lambda x: (x - 0.5).relu()),
    "relu6": function(lambda x: F.relu6(x * 8)),
    "leaky": function(lambda x: F.leaky_relu(x - 0.5, 0.1)),
    "maximum-minimum": function(lambda x, y: (x.maximum(y), x.minimum(y)), ROWS, ROWS),
    "fmax": function(lambda x, y: torch.fmax(x, y), ROWS, ROWS),
    "sort": function(lambda x: tuple(x.sort(1))),
    "sort-stable-descending": function(
        lambda x: tuple(torch.sort(x, dim=1, descending=True, stable=True))
    ),
    "argsort": function(lambda x: x.argsort(1)),
    "sort-coarse": function(lambda x: tuple((x * 3).round().sort(1))),
    "sort-coarse-stable": function(
        lambda x: tuple(torch.sort((x * 3).round(), dim=1, stable=True))
    ),
    "topk": function(lambda x: tuple(x.topk(3))),
    "topk-coarse": function(lambda x: tuple((x * 3).round().topk(4))),
    "topk-smallest": function(lambda x: tuple(x.topk(3, largest=False))),
    "median": function(lambda x: tuple(x.median(1))),
    "mode-like": function(lambda x: (x > 0.5).float().argmax(1)),
    "nan-to-num": function(lambda x: torch.nan_to_num(x - 0.5, 0.25, 9.0, -9.0)),
    "isnan": function(lambda x: (x.isnan(), x.isinf(), torch.isfinite(x))),
    "where-isnan": function(lambda x: torch.where(x.isnan(), 0.0, x)),
    "sign": function(lambda x: torch.sign(x - 0.5)),
    "signbit": function(lambda x: torch.signbit(x - 0.5)),
    "copysign": function(lambda x, y: torch.copysign(x, y - 0.5), ROWS, ROWS),
    # Reductions
    "sum-of-nothing": function(lambda x: x[:, :0].sum(1)),
    "mean-of-nothing": function(lambda x: x[:, :0].mean(1)),
    "prod-of-nothing": function(lambda x: x[:0].prod(0)),
    "any-all-of-nothing": function(lambda x: ((x[:, :0] > 0).any(1), (x[:, :0] > 0).all(1))),
    "empty-joined": function(lambda x: torch.cat([x[:, :0], x * 2], 1)),
    "empty-through-linear": module(lambda: Function(_empty_linear()), ROWS),
    "logsumexp": function(lambda x: x.logsumexp(1)),
    "logsumexp-of-nothing": function(lambda x: x[:, :0].logsumexp(1)),
    "variance": function(lambda x: (x.var(1), x.std(0), x.var(1, correction=0))),
    "norms": function(lambda x: (x.norm(), x.norm(dim=1), x.norm(p=1, dim=1))),
    "largest-norm": function(lambda x: x.norm(float("inf"))),
    "product": function(lambda x: x.prod(1)),
    "cumsum": function(lambda x: x.cumsum(1)),
    "cumsum-int": function(lambda x: x.cumsum(1), LONGS),
    "cumsum-bool": function(lambda x: x.cumsum(1), Flags((4, 6))),
    "cumprod": function(lambda x: x.cumprod(1)),
    "cummax": function(lambda x: tuple(x.cummax(1))),
    "any-all": function(lambda x: (x.any(1), x.all(1)), Flags((4, 6))),
    "sum-bool": function(lambda x: x.sum(1), Flags((4, 6))),
    "mean-large": function(lambda x: (x * 1e4 + 1e6).mean(1)),
    # Whole numbers
    "uint8-add": function(lambda x: x + x, Numbers((4, 6), 0, 9, torch.uint8)),
    "uint8-subtract": function(lambda x: x - 5, Numbers((4, 6), 6, 9, torch.uint8)),
    "uint8-multiply": function(lambda x: x * 3, Numbers((4, 6), 0, 9, torch.uint8)),
    "uint8-to-float": function(lambda x: x.float() / 255, Numbers((4, 6), 0, 255, torch.uint8)),
    "uint8-sum": function(lambda x: x.sum(1), Numbers((4, 6), 0, 9, torch.uint8)),
    "uint8-max-pool": function(
        lambda x: F.max_pool2d(x.float(), 2), Numbers((1, 3, 8, 8), 0, 255, torch.uint8)
    ),
    "int8-multiply": function(lambda x: x * 3, Numbers((4, 6), -9, 9, torch.int8)),
    "int8-negate": function(lambda x: -x, Numbers((4, 6), -9, 9, torch.int8)),
    "int8-abs": function(lambda x: x.abs(), Numbers((4, 6), -9, 9, torch.int8)),
    "int16-square": function(lambda x: x * x, Numbers((4, 6), 0, 99, torch.int16)),
    "int32-square": function(lambda x: x * x, Numbers((4, 6), 0, 99, torch.int32)),
    "int64-past-float": function(lambda x: x * 3 + 1, Numbers((4, 6), 2**52, 2**54)),
    "int64-halved-past-float": function(lambda x: x // 2, Numbers((4, 6), 2**52, 2**54)),
    "int64-remainder-past-float": function(lambda x: x % 1000, Numbers((4, 6), 2**52, 2**54)),
    "int64-max-past-float": function(lambda x: (x.amax(1), x.argmax(1)), Numbers((4, 6), 0, 2**54)),
    "int64-clamp": function(lambda x: x.clamp(2, 7), LONGS),
    "int64-abs-sign": function(lambda x: (x.abs(), x.sign()), Numbers((4, 6), -9, 9)),
    "int64-sort": function(lambda x: tuple(torch.sort(x, dim=1, stable=True)), LONGS),
    "int64-topk": function(lambda x: x.topk(3).values, LONGS),
    "int64-power": function(lambda x: x**3, LONGS),
    "int64-compare": function(lambda x, y: (x < y, x == y, x >= 3), LONGS, LONGS),
    "int64-mean": function(lambda x: x.float().mean(1), LONGS),
    "int64-dot": function(lambda x: x @ x.T, LONGS),
    "shifts": function(lambda x: (x << 2, x >> 1), LONGS),
    "bitwise": function(lambda x: (x & 6, x | 3, x ^ 5, ~x), LONGS),
    "bool-logic": function(
        lambda a, b: (a & b, a | b, a ^ b, ~a), Flags((4, 6)), Flags((4, 6))
    ),
    "bool-compare": function(lambda a, b: (a == b, a > b), Flags((4, 6)), Flags((4, 6))),
    "bool-multiply": function(lambda a, x: a * x, Flags((4, 12)), ROWS),
    "bool-maximum": function(lambda a, b: torch.maximum(a, b), Flags((4, 6)), Flags((4, 6))),
    # Low precision
    "half-linear": module(lambda: nn.Linear(12, 5).half(), Image((4, 12), torch.float16)),
    "half-add": function(lambda x: x + x * 0.1, Image((4, 12), torch.float16)),
    "half-sum": function(lambda x: x.sum(1), Image((4, 12), torch.float16)),
    "half-overflow": function(lambda x: x * 60000, Image((4, 12), torch.float16)),
    "bfloat16-inside": function(lambda x: (x.bfloat16() * 1.1).float()),
    "half-inside": function(lambda x: (x.half() * 1.1).float()),
    "half-round-trip": function(lambda x: x.half().float() * 2),
    "double": function(lambda x: x.exp() * 1.1, Image((4, 12), torch.float64)),
    "double-inside": function(lambda x: (x.double() / 3).float()),
    # Functions
    "atan2": function(lambda x, y: torch.atan2(x - 0.5, y - 0.5), ROWS, ROWS),
    "power": function(lambda x, y: torch.pow(x, y), ROWS, ROWS),
    "power-third": function(lambda x: torch.pow(x, 3)),
    "power-half": function(lambda x: torch.pow(x, 0.5)),
    "power-negative": function(lambda x: torch.pow(x + 0.1, -2)),
    "power-of-two": function(lambda x: torch.pow(2.0, x)),
    "power-of-negative": function(lambda x: torch.pow(x - 0.5, 2.0)),
    "square-root": function(lambda x: (x.sqrt(), (x + 0.1).rsqrt())),
    "logarithm": function(lambda x: ((x + 0.1).log(), (x + 0.1).log2(), x.log1p(), x.expm1())),
    "trigonometry": function(lambda x: (x.sin(), x.cos(), x.tan(), x.atan())),
    "hyperbolic": function(lambda x: (x.sinh(), x.cosh(), x.tanh())),
    "asinh": function(lambda x: x.asinh()),
    "tangent": function(lambda x: x.tan()),
    "arcs": function(lambda x: (x.asin(), x.acos(), (x + 1).acosh(), (x * 0.9).atanh())),
    "errors": function(lambda x: (x.erf(), x.erfc(), (x * 0.9).erfinv())),
    "gelu": function(F.gelu),
    "gelu-tanh": function(lambda x: F.gelu(x, approximate="tanh")),
    "gelu-linear": module(
        lambda: nn.Sequential(nn.Linear(12, 12), nn.GELU(), nn.Linear(12, 3)), ROWS
    ),
    "silu-mish": function(lambda x: (F.silu(x), F.mish(x))),
    "elu-selu-celu": function(lambda x: (F.elu(x - 0.5), F.selu(x - 0.5), F.celu(x - 0.5, 0.7))),
    "hard": function(lambda x: (F.hardswish(x * 4 - 2), F.hardsigmoid(x * 8 - 4), F.hardtanh(x))),
    "shrink": function(lambda x: (F.softshrink(x, 0.3), F.hardshrink(x, 0.3))),
    "threshold": function(lambda x: F.threshold(x, 0.3, 20.0)),
    "softplus": function(lambda x: F.softplus(x, 2.0, 1.0)),
    "softmax": function(lambda x: (x.softmax(1), x.log_softmax(0))),
    "softmax-masked": function(
        lambda x, m: x.masked_fill(m, float("-inf")).softmax(1).nan_to_num(0.0),
        ROWS, Flags((4, 12)),
    ),
    "sigmoid": function(lambda x: (x.sigmoid(), F.logsigmoid(x))),
    # Norms and layers
    "group-norm": module(lambda: nn.GroupNorm(2, 6, eps=0.1), Image((2, 6, 5, 4))),
    "group-norm-tiny-eps": module(lambda: nn.GroupNorm(3, 6, eps=1e-12), Image((2, 6, 5, 4))),
    "instance-norm": module(lambda: nn.InstanceNorm2d(6, eps=0.1), Image((2, 6, 5, 4))),
    "instance-norm-affine": module(
        lambda: nn.InstanceNorm2d(6, affine=True), Image((2, 6, 5, 4))
    ),
    "layer-norm": module(lambda: nn.LayerNorm(12, eps=1e-12), ROWS),
    "rms-norm": module(lambda: nn.RMSNorm(12), ROWS),
    "batch-norm": module(lambda: nn.BatchNorm2d(3, eps=0.5)),
    "local-response-norm": module(lambda: nn.LocalResponseNorm(3)),
    "normalise": function(lambda x: F.normalize(x, dim=1)),
    "cosine-similarity": function(lambda x, y: F.cosine_similarity(x, y), ROWS, ROWS),
    "lstm": module(lambda: Recurrent(nn.LSTM(6, 5, batch_first=True)), Image((2, 7, 6))),
    "lstm-both-ways": module(
        lambda: Recurrent(nn.LSTM(6, 5, 2, bidirectional=True)), Image((7, 2, 6))
    ),
    "gru": module(lambda: Recurrent(nn.GRU(6, 5, batch_first=True)), Image((2, 7, 6))),
    "rnn-relu": module(lambda: Recurrent(nn.RNN(6, 5, nonlinearity="relu")), Image((7, 2, 6))),
    "transposed-convolution": module(
        lambda: nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1)
    ),
    "reflected-convolution": module(
        lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
    ),
    "circular-convolution": module(
        lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    ),
    "same-convolution": module(lambda: nn.Conv2d(3, 4, 5, padding="same")),
    "embedding": module(lambda: nn.Embedding(10, 4, 0), Numbers((2, 5), 0, 9, valid=True)),
    "embedding-bag": module(
        lambda: nn.EmbeddingBag(10, 4, mode="max"), Numbers((2, 5), 0, 9, valid=True)
    ),
    "attention": module(
        lambda: Function(lambda q, k: F.scaled_dot_product_attention(q, k, k)),
        Image((1, 2, 5, 8)), Image((1, 2, 5, 8)),
    ),
    "attention-causal": module(
        lambda: Function(lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True)),
        Image((1, 2, 5, 8)),
    ),
    "attention-masked": function(
        lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m).nan_to_num(0.0),
        Image((1, 2, 5, 8)), Flags((5, 5)),
    ),
    # Indexing
    "scatter-duplicates": function(
        lambda x, i: torch.zeros(4, 12).scatter(0, i % 4, x), ROWS, Numbers((4, 12), 0, 3)
    ),
    "scatter-add": function(_scattered, ROWS, Numbers((4, 12), 0, 3)),
    "scatter-reduce": function(
        lambda x, i: torch.zeros(4, 12).scatter_reduce(0, i % 4, x, "amax", include_self=False),
        ROWS, Numbers((4, 12), 0, 3),
    ),
    "scatter-mean": function(
        lambda x, i: torch.zeros(4, 12).scatter_reduce(0, i % 4, x, "mean"),
        ROWS, Numbers((4, 12), 0, 3),
    ),
    "index-put": function(_put, ROWS, Numbers((4, 6), 0, 3)),
    "index-put-over": function(_put_over, ROWS, Numbers((4, 6), 0, 3)),
    "index-add": function(
        lambda x, i: (x * 2).index_add(0, i[:, 0] % 4, x), ROWS, Numbers((4, 6), 0, 3)
    ),
    "index-negative": function(
        lambda x, i: (x * 2)[i[:, 0]], ROWS, Numbers((4, 6), -4, 3, valid=True)
    ),
    "gather": function(
        lambda x, i: (x * 2).gather(1, i), ROWS, Numbers((4, 6), 0, 11, valid=True)
    ),
    "take-along": function(lambda x: torch.take_along_dim(x, x.argsort(1), 1)),
    "masked-fill": function(
        lambda x, m: x.masked_fill(m, -1e9), ROWS, Flags((4, 12))
    ),
    "roll-flip": function(lambda x: (x.roll(3, 1), x.flip(0), torch.rot90(x))),
    "one-hot": function(
        lambda x: F.one_hot(x, 10), Numbers((2, 5), 0, 9, valid=True)
    ),
    "tril-triu": function(lambda x: (x.tril(-1), x.triu(2))),
    "bucketize": function(lambda x: torch.bucketize(x, torch.tensor([0.2, 0.5, 0.5, 0.9]))),
    "bucketize-right": function(
        lambda x: torch.bucketize(x, torch.tensor([0.25, 0.5, 0.75]), right=True)
    ),
    "searchsorted": function(lambda x: torch.searchsorted(torch.linspace(0, 1, 5), x)),
    "pixel-shuffle": function(lambda x: F.pixel_shuffle(x, 2), Image((1, 8, 3, 5))),
    "pad-modes": function(
        lambda x: (F.pad(x, (1, 2), "reflect"), F.pad(x, (2, 1), "replicate"), F.pad(x, (1, -1))),
        Image((2, 3, 7)),
    ),
    "compare-floats": function(lambda x, y: (x == y, x != y, x <= y, x > 0.5), ROWS, ROWS),
    "einsum": function(lambda x, y: torch.einsum("ij,kj->ik", x, y), ROWS, ROWS),
    "cdist": function(lambda x, y: torch.cdist(x, y), ROWS, ROWS),
    "linspace-add": function(lambda x: x + torch.linspace(-1, 1, 12)),
    "count-nonzero": function(lambda x: torch.count_nonzero(x - 0.5, 1)),
    "histogram-like": function(lambda x: (x.unsqueeze(2) > torch.linspace(0, 1, 5)).sum(1)),
}  # fmt: skip


def _empty_linear():
    weight = torch.randn(5, 12)
    return lambda x: F.linear(x[:0], weight).sum(0)
