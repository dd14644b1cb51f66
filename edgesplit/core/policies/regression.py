"""Layer times by regression: what a layer of its kind and size takes on a tier, by few numbers.

One fit per tier and kind of layer, linear or logarithmic, whichever lies nearer to the tier's
times. Features stand for those of the literature: multiply-adds, bytes in and out, weights.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from edgesplit.core.cost import Array
from edgesplit.core.graph import Graph
from edgesplit.core.policies.layer_kind import LayerKind, kinds_of
from edgesplit.core.profile import Profile

Feature = Literal["macs", "in", "out"]
# The first counts most: with few layers of a kind only that one is used, or none.
FEATURES: dict[LayerKind, tuple[Feature, ...]] = {
    "conv": ("macs", "in"),
    "fc": ("in", "out"),
    "attention": ("macs", "in"),
    "pool": ("in", "out"),
    "norm": ("in",),
    "act": ("in",),
    "other": ("macs", "in"),
}
# Layers of a kind beyond the coefficients of its fit, without which it would repeat its input.
SPARE = 1


def regressed_s(graph: Graph, profile: Profile) -> Array:
    """Seconds of each layer by the fits, (tiers, n), at the speed profiled, in the runtime in use.

    Of one or two layers of a kind it is the mean. Where macs are not known, weights take their
    place.
    """
    measured = np.array([tier.layer_s for tier in profile.tiers])
    columns, kinds = _columns(graph), np.array(kinds_of(graph))
    predicted = np.empty_like(measured)
    for kind in dict.fromkeys(kinds.tolist()):
        layers = np.flatnonzero(kinds == kind)
        features = [columns[name][layers] for name in FEATURES[kind]]
        predicted[:, layers] = _fitted(features, measured[:, layers])
    return predicted


def _columns(graph: Graph) -> dict[Feature, Array]:
    sizes = np.array(graph.payload_bytes, dtype=float)
    work = np.array(graph.macs or graph.weight_bytes, dtype=float)
    return {"macs": work, "in": sizes[:-1], "out": sizes[1:]}


def _fitted(features: Sequence[Array], measured: Array) -> Array:
    """What the better of both fits says of the layers that it was made from, (tiers, layers)."""
    used = list(features)[: max(0, measured.shape[1] - 1 - SPARE)]
    fits = [_least_squares(used, measured), _least_squares(list(map(np.log1p, used)), measured)]
    errors = [((fit - measured) ** 2).sum(axis=1) for fit in fits]
    is_linear = errors[0] <= errors[1]
    best: Array = np.maximum(np.where(is_linear[:, None], *fits), 0.0)
    return best


def _least_squares(features: Sequence[Array], measured: Array) -> Array:
    scaled = [feature / max(feature.max(), 1.0) for feature in features]
    known = np.stack([np.ones(measured.shape[1]), *scaled], axis=1)
    coefficients = np.linalg.lstsq(known, measured.T, rcond=None)[0]
    fit: Array = (known @ coefficients).T
    return fit
