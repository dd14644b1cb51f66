"""Profiles made from those of workloads that are measured already: another size, another model."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import TORCH
from edgesplit.core.profile import Profile, Tier

_SCALED = ", scaled to another size"  # in a provenance


def scaled(profile: Profile, graph: Graph, like: Graph) -> Profile:
    """The profile of `like` for the same layers at another size; torch's layer times alone.

    A layer takes the longer the more bytes it reads and makes, weights left out. What codecs save
    and cost there says nothing of this size: they are left out.
    """
    pairs = zip(_bytes_of_layers(graph), _bytes_of_layers(like), strict=True)
    factors = [new / max(1, old) for new, old in pairs]
    tiers = tuple(_scaled_tier(tier.on(TORCH), factors) for tier in profile.tiers)
    return replace(profile, tiers=tiers, score_reference=None, codecs=())


def is_scaled(profile: Profile) -> bool:
    """Whether its layer times come from another size."""
    return any(tier.provenance.endswith(_SCALED) for tier in profile.tiers)


def _bytes_of_layers(graph: Graph) -> list[int]:
    return [before + after for before, after in pairwise(graph.payload_bytes)]


def _scaled_tier(tier: Tier, factors: Sequence[float]) -> Tier:
    layer_s = tuple(s * factor for s, factor in zip(tier.layer_s, factors, strict=True))
    provenance = f"{tier.provenance.removesuffix(_SCALED)}{_SCALED}"
    return replace(tier, layer_s=layer_s, provenance=provenance, layer_times=(), unused=())


def guessed(profile: Profile, n_layers: int) -> Profile:
    """The tiers of another workload's profile, as if this one took as long, evenly."""
    tiers = tuple(
        replace(
            tier,
            layer_s=(sum(tier.layer_s) / n_layers,) * n_layers,
            provenance="guessed",
            layer_times=(),
        )
        for tier in profile.tiers
    )
    return replace(profile, tiers=tiers, score_reference=None, codecs=())
