"""The rows of one tier to choose from: what each takes for a segment, and what none can beat."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from edgesplit.core.plan import Stage
from edgesplit.core.search.space import Array
from edgesplit.core.tier import Tier


@dataclass(frozen=True)
class Choice:
    """One tier and its rows. prefix_s: (rows, n + 1), seconds of layers 0..k in each of them."""

    tier: Tier

    @cached_property
    def _layer_s(self) -> Array:
        rows = [self.tier.layer_s_in(runtime) for runtime in self.tier.runtimes]
        return np.array(rows) * self.tier.slowdown

    @cached_property
    def prefix_s(self) -> Array:
        return _prefix(self._layer_s)

    @cached_property
    def least_prefix_s(self) -> Array:
        return _prefix(self._layer_s.min(axis=0))

    @cached_property
    def open_tier(self) -> Tier:
        """The tier were each layer run in the row that is quickest with it."""
        rows = [self.tier.layer_s_in(runtime) for runtime in self.tier.runtimes]
        return replace(self.tier, layer_s=tuple(map(min, *rows)), rows=())

    def segment_s(self, stage: Stage) -> Array:
        """Seconds of the segment in each row, (rows,)."""
        seconds: Array = self.prefix_s[:, stage.stop] - self.prefix_s[:, stage.start]
        return seconds

    def gap_s(self, stage: Stage) -> float:
        """By how much the quickest row misses what an open tier is given for the segment."""
        least_s = self.least_prefix_s[stage.stop] - self.least_prefix_s[stage.start]
        return float(self.segment_s(stage).min() - least_s)

    def quickest(self, stage: Stage) -> str:
        """The runtime of least seconds for the segment; the one in use among equals."""
        return self.tier.runtimes[int(self.segment_s(stage).argmin())]


def _prefix(layer_s: Array) -> Array:
    zero = np.zeros((*layer_s.shape[:-1], 1))
    return np.concatenate([zero, np.cumsum(layer_s, axis=-1)], axis=-1)
