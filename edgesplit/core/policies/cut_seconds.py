"""Seconds and watts of plans with one cut, for the rules that learn: by way (uplink.py) and cut."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgesplit.core.cost import Array, CostModel
from edgesplit.core.policies.uplink import Uplink
from edgesplit.core.profile import Profile


@dataclass(frozen=True)
class CutSeconds:
    """Of each way and cut, (ways, n + 1) or what broadcasts to it. Nothing is sent at cut n."""

    device_s: Array
    upload_s: Array
    server_s: Array

    @property
    def total_s(self) -> Array:
        """All three; no latency of links, and no answer's way back."""
        total: Array = self.device_s + self.upload_s + self.server_s
        return total


def cut_seconds(model: CostModel, ways: Sequence[Uplink], layer_s: Array) -> CutSeconds:
    """Uploads take bytes / rate. layer_s: of each layer on each tier as predicted, (tiers, n)."""
    prefix_s = np.zeros((len(layer_s), len(model.graph) + 1))
    np.cumsum(layer_s, axis=1, out=prefix_s[:, 1:])
    servers = [way.server for way in ways]
    upload_s = np.outer([way.s_per_byte for way in ways], model.graph.payload_bytes)
    server_s = prefix_s[servers, -1:] - prefix_s[servers]
    server_s[0] = 0.0  # of the way that keeps all
    return CutSeconds(prefix_s[:1], only_away(upload_s), server_s)


def profiled_s(profile: Profile, factors: Sequence[float]) -> Array:
    """Profiled seconds of each layer on each tier, in the runtime in use, times the tier's factor.

    Shape (tiers, n).
    """
    profiled = np.array([tier.layer_s for tier in profile.tiers])
    layer_s: Array = profiled * np.array(factors)[:, None]
    return layer_s


def only_away(values: Array) -> Array:
    """The values, 0 at the last cut, where everything stays on the entry tier."""
    away = values.copy()
    away[..., -1] = 0.0
    return away


@dataclass(frozen=True)
class ChargedWatts:
    """What the goal's boundary charges a tier while it computes, sends and receives."""

    compute_w: float
    transmit_w: float
    receive_w: float


def charged_w(model: CostModel, tier: int) -> ChargedWatts:
    """Of the tier of that number."""
    power = model.profile.tiers[tier].power
    if model.goal.boundary == "gross":
        return ChargedWatts(power.compute_w, power.transmit_w, power.receive_w)
    return ChargedWatts(*(power.above_idle_w(name) for name in ("compute", "transmit", "receive")))
