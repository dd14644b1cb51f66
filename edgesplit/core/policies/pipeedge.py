"""PipeEdge: the pipeline of least period, by dynamic programming over layers, devices and the last.

Source: Hu, Imes, Zhao, Kundu, Beerel, Crago, Walters, DSD 2022, pp. 298-307 (EdgePipe in arXiv
2110.14895), and its public code. Read: the source.
Rule: h[U][u][i] is the least period of a pipeline that has run the first i layers on the devices U,
u the last of them: the least over the layers k before u's and the device v before it of
max(h[U - u][v][k], bytes / bandwidth from v to u, seconds of layers k to i on u), where u has the
memory for its weights and its buffers of what comes and goes. Latency and joules do not count.
Ours: the pipeline begins at the entry tier, where the input is, so that its way counts as any
other; a stage may run nothing, as where the entry tier computes nothing or a relay is needed. Each
tier is a kind of device of its own; of more than eight, those that are quickest alone count.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.cost import Array, CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.profile import Profile
from edgesplit.errors import PlanError

MOST_TIERS = 8
_Key = tuple[int, int]  # the devices used as bits, and the last of them


@dataclass(frozen=True)
class PipeEdge:
    """The policy."""

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy. Raises PlanError where memory forbids all."""
        return pipeline(CostModel(graph, profile, goal))[0]


def pipeline(model: CostModel) -> tuple[Plan, float]:
    """The plan of least period and its seconds; of equal ones that with the fewest stages.

    Raises PlanError where no plan fits into the tiers' memory, or keeps the goal's min_end_layers.
    """
    table = _PeriodTable(model)
    table.fill()
    key = min(table.periods, key=lambda key: (table.periods[key][-1], key[0].bit_count(), key))
    period_s = float(table.periods[key][-1])
    if np.isinf(period_s):
        raise PlanError(
            f"no pipeline of {model.graph.name} fits memory_bytes {dict(model.goal.memory_bytes)} "
            f"with its buffers, with min_end_layers {model.goal.min_end_layers} and max_stages "
            f"{model.goal.max_stages}"
        )
    route, cuts = table.walk(key)
    names, profile = model.profile.names, model.profile
    plan = plan_along([names[tier] for tier in route], cuts, len(model.graph))
    return plan.on(profile.runtimes), period_s


class _PeriodTable:
    """h by devices used and the last one, each for all cuts; and where each entry is from."""

    def __init__(self, model: CostModel) -> None:
        self._model = model
        self._sizes = np.array(model.graph.payload_bytes, dtype=float)
        self._s_per_byte = _s_per_byte(model.profile)
        self.periods = dict[_Key, Array]()
        self._origins = dict[_Key, tuple[NDArray[np.intp], NDArray[np.intp]]]()

    def fill(self) -> None:
        """All entries, those with fewer devices first."""
        stage_s = [self._stage_s(tier) for tier in range(len(self._model.profile.tiers))]
        first_s = stage_s[0][0].copy()
        first_s[: self._model.goal.min_end_layers] = np.inf
        self.periods[1, 0] = first_s
        others = self._others()
        for used in _sets(others, self._model.goal.max_stages):
            for last in others:
                if used >> last & 1:
                    self._enter(used, last, stage_s[last])

    def _enter(self, used: int, last: int, stage_s: Array) -> None:
        before = used & ~(1 << last)
        linked = np.flatnonzero(np.isfinite(self._s_per_byte[:, last])).tolist()
        keys = [(before, tier) for tier in linked if (before, tier) in self.periods]
        if not keys:
            return
        arrivals = np.stack([
            np.maximum(self.periods[key], self._s_per_byte[key[1], last] * self._sizes)
            for key in keys
        ])  # fmt: skip
        nearest = arrivals.argmin(axis=0)
        period_s = np.maximum(arrivals.min(axis=0)[:, None], stage_s)
        start = period_s.argmin(axis=0)
        self.periods[used, last] = period_s.min(axis=0)
        self._origins[used, last] = np.array([key[1] for key in keys])[nearest[start]], start

    def walk(self, key: _Key) -> tuple[list[int], list[int]]:
        """The devices and cuts of the pipeline of all layers that ends so."""
        route, cuts, at = [key[1]], list[int](), len(self._model.graph)
        while key in self._origins:
            sources, starts = self._origins[key]
            source, at = int(sources[at]), int(starts[at])
            key = key[0] & ~(1 << key[1]), source
            route.append(source)
            cuts.append(at)
        return route[::-1], cuts[::-1]

    def _stage_s(self, tier: int) -> Array:
        """Seconds of layers k to i there, (n + 1, n + 1); infinite where they do not fit."""
        model, cuts = self._model, np.arange(len(self._sizes))
        prefix_s = model.prefix_s[0, tier]
        seconds = prefix_s - prefix_s[:, None]
        weights = model.weight_prefix - model.weight_prefix[:, None]
        has_layers = cuts > cuts[:, None]
        needed = weights + self._sizes + self._sizes[:, None]
        fits = ~has_layers | (needed <= model.memory_bytes[tier])
        stage_s: Array = np.where((cuts >= cuts[:, None]) & fits, seconds, np.inf)
        return stage_s

    def _others(self) -> list[int]:
        """The tiers but the entry tier, the quickest ones where there are too many."""
        total_s = self._model.prefix_s[0, :, -1]
        quickest = np.argsort(total_s[1:], kind="stable")[: MOST_TIERS - 1] + 1
        return sorted(quickest.tolist())


def _sets(others: list[int], most: int | None) -> Iterator[int]:
    """All sets of the entry tier and at least one other, smaller ones first."""
    sets = []
    for chosen in range(1, 1 << len(others)):
        bits = 1 | sum(1 << tier for k, tier in enumerate(others) if chosen >> k & 1)
        if most is None or bits.bit_count() <= most:
            sets.append(bits)
    yield from sorted(sets, key=lambda bits: (bits.bit_count(), bits))


def _s_per_byte(profile: Profile) -> Array:
    """Of each link, (tiers, tiers); infinite where there is none."""
    names = profile.names
    found = np.full((len(names), len(names)), np.inf)
    for link in profile.links:
        found[names.index(link.source), names.index(link.target)] = 1 / link.bytes_per_s
    return found
