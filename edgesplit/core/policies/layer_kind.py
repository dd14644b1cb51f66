"""What kind of layer a name says it is: `features.0.conv2d` is a convolution.

Names are a module's path and an operator, as the export writes them, or those of public tables,
such as Keras's `conv_pw_3_relu`. The last part with a letter in it counts.
"""

import re
from typing import Literal

from edgesplit.core.graph import Graph

LayerKind = Literal["conv", "fc", "attention", "pool", "norm", "act", "other"]

# The first that fits: `conv_pw_3_relu` and `conv1_bn` are no convolutions.
_WORDS: tuple[tuple[LayerKind, re.Pattern[str]], ...] = (
    ("act", re.compile("elu|silu|swish|sigmoid|tanh|softmax|softplus|mish|clamp|activation")),
    ("norm", re.compile(r"norm|(^|_)bn")),
    ("pool", re.compile("pool")),
    ("attention", re.compile("attention|attn|matmul|bmm|einsum")),
    ("fc", re.compile(r"linear|addmm|dense|(^|_)(mm|fc)|prediction")),
    ("conv", re.compile("conv")),
)


def kind_of(layer: str) -> LayerKind:
    """The kind of a layer of that name; `other` where the name does not tell."""
    parts = (part for part in reversed(layer.lower().split(".")) if re.search("[a-z]", part))
    word = next(parts, "")
    return next((kind for kind, pattern in _WORDS if pattern.search(word)), "other")


def kinds_of(graph: Graph) -> tuple[LayerKind, ...]:
    """The kind of each layer."""
    return tuple(map(kind_of, graph.layers))
