"""What runs behind a cut, as seven numbers: how many layers of which kind, their work, the payload.

The features of ANS (ans.py), scaled.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.cost import Array
from edgesplit.core.graph import Graph
from edgesplit.core.policies.layer_kind import kind_of
from edgesplit.core.tier import Tier

FEATURES = 7
# The largest value of each feature. Raw multiply-adds are 1e10 and cannot be inverted beside counts
# of layers. ANS supposes that coefficients have a norm of 1: with delays in milliseconds they do,
# up to 10 s. Less, and its confidence is too narrow to try more than the first few cuts.
LARGEST = 1e4
_CONV, _PRODUCT, _OTHER = range(3)


def cut_features(graph: Graph, device: Tier) -> Array:
    """(n + 1, FEATURES), each from 0 to LARGEST; zeros at cut n, behind which nothing runs.

    Work and number of convolutions, of products of matrices, of all other layers; the payload.
    Work is multiply-adds, of the other layers the bytes behind them. Where a graph has no
    multiply-adds, the device's profiled seconds, which it knows as well.
    """
    classes, work = _classes(graph), np.asarray(device.layer_s)
    if graph.macs:
        work = np.where(classes == _OTHER, graph.payload_bytes[1:], graph.macs).astype(float)
    columns = list[Array]()
    for one in (_CONV, _PRODUCT, _OTHER):
        is_one = classes == one
        columns += [_behind(np.where(is_one, work, 0.0)), _behind(is_one.astype(float))]
    payload = np.asarray(graph.payload_bytes, dtype=float)
    payload[-1] = 0.0
    features = np.stack([*columns, payload], axis=1)
    most = features.max(axis=0)
    return features * (LARGEST / np.where(most > 0, most, 1.0))


def _classes(graph: Graph) -> NDArray[np.intp]:
    """Of each layer; one whose name tells nothing and that multiplies counts as a convolution."""
    found = np.array([_class_of(layer) for layer in graph.layers], dtype=np.intp)
    if graph.macs:
        found[(found == _OTHER) & (np.asarray(graph.macs) > 0)] = _CONV
    return found


@lru_cache(maxsize=4096)  # every request asks for the same layers again
def _class_of(layer: str) -> int:
    kinds = {"conv": _CONV, "fc": _PRODUCT, "attention": _PRODUCT}
    return kinds.get(kind_of(layer), _OTHER)


def _behind(values: Array) -> Array:
    """Sums over the layers behind each cut, (n + 1,)."""
    sums: Array = np.concatenate([np.cumsum(values[::-1])[::-1], [0.0]])
    return sums
