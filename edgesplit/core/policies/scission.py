"""Scission: all plans over a device, an edge and a cloud, ranked by latency, within criteria.

Source: Lockhart, Harvey, Imai, Willis, Varghese, UCC 2020, arXiv 2008.03523, and its public code.
Read: the source. Rule: T = measured seconds of the layers of each tier + per link used (ping +
bytes / bandwidth); the answer's way is free; a tier without layers is left out together with its
link. All splits are ranked by T, those outside of the criteria dropped, the first is taken.
Ours: tiers come in the profile's order, and one of each role (edge, edge-2) at most. Where no link
leads past a tier that is left out, it relays. A link's ping is its latency there and back.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.cost import Array, CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.planner.growth import Ints
from edgesplit.core.policies.policy import plays
from edgesplit.core.policies.uplink import Uplink, uplink
from edgesplit.core.profile import Profile
from edgesplit.errors import PlanError

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Criterion:
    """What a plan must or must not do: run that layer on a tier, or, with None, anything there.

    tier: a tier's name, or a role that several nodes play: `edge` is also edge-2.

    Example:
        >>> str(Criterion("cloud", 16)), str(Criterion("edge", must=False))
        ('layer 16 on cloud', 'nothing on edge')
    """

    tier: str
    layer: int | None = None
    must: bool = True

    def __str__(self) -> str:
        what = "something" if self.layer is None else f"layer {self.layer}"
        if self.must:
            return f"{what} on {self.tier}"
        return f"nothing on {self.tier}" if self.layer is None else f"{what} not on {self.tier}"


@dataclass(frozen=True)
class RankedPlan:
    """A plan and its seconds by Scission's sum, with the bytes that it sends over links."""

    plan: Plan
    latency_s: float
    sent_bytes: int


@dataclass(frozen=True)
class Scission:
    """The policy: the first of the ranking."""

    criteria: tuple[Criterion, ...] = ()

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy. Raises PlanError where none is within all limits."""
        found = ranked(CostModel(graph, profile, goal), 1, self.criteria)
        if not found:
            told = ", ".join(map(str, self.criteria)) or "none"
            raise PlanError(
                f"no plan of {graph.name} is within the goal's limits and the criteria: {told}"
            )
        return found[0].plan


def ranked(model: CostModel, most: int, criteria: tuple[Criterion, ...] = ()) -> list[RankedPlan]:
    """The first `most` plans within the criteria and the goal's limits, the quickest first.

    The limits are memory_bytes, min_end_layers and max_stages; the latency limit is not looked at.
    """
    pipelines = list(_pipelines(model))
    totals = [np.where(one.allowed(criteria), one.total_s(), np.inf) for one in pipelines]
    every = np.concatenate(totals)
    ends = np.cumsum([len(total) for total in totals])
    order = np.argsort(every, kind="stable")[:most]
    found = list[RankedPlan]()
    for at in order[np.isfinite(every[order])].tolist():
        number = int(np.searchsorted(ends, at, side="right"))
        within = at - (int(ends[number]) - len(totals[number]))
        found.append(pipelines[number].plan(within, float(every[at])))
    return found


@dataclass(frozen=True)
class Pipeline:
    """The plans in which the same tiers compute: one for each choice of cuts.

    tiers: the entry tier and those that compute behind it; links: the way to each of these. cuts:
    (tiers + 1, plans), where each one's layers start, and the last cut.
    """

    model: CostModel
    tiers: tuple[int, ...]
    links: tuple[Uplink, ...]
    cuts: Ints

    def total_s(self) -> Array:
        """Seconds of each plan."""
        sizes = np.array(self.model.graph.payload_bytes, dtype=float)
        total = np.zeros(self.cuts.shape[1])
        for tier, start, stop in self._segments():
            prefix_s = self.model.prefix_s[0, tier]
            total += prefix_s[stop] - prefix_s[start]
        for link, cut in zip(self.links, self.cuts[1:-1], strict=True):
            total += link.ping_s + link.s_per_byte * sizes[cut]
        return total

    def allowed(self, criteria: tuple[Criterion, ...]) -> Mask:
        """Which plans are within the goal's limits and these criteria."""
        model, goal = self.model, self.model.goal
        allowed: Mask = self.cuts[1] >= goal.min_end_layers
        allowed &= goal.max_stages is None or len(self.route) <= goal.max_stages
        for tier, start, stop in self._segments():
            weights = model.weight_prefix[stop] - model.weight_prefix[start]
            allowed &= weights <= model.memory_bytes[tier]
        for criterion in criteria:
            allowed &= self._runs(criterion) == criterion.must
        return allowed

    @property
    def route(self) -> tuple[int, ...]:
        """All tiers visited, relays among them."""
        return (0, *(tier for link in self.links for tier in link.route[1:]))

    def plan(self, number: int, latency_s: float) -> RankedPlan:
        """One of the plans."""
        names, model = self.model.profile.names, self.model
        inner = self.cuts[1:-1, number].tolist()
        hops = [cut for link, cut in zip(self.links, inner, strict=True) for _ in link.route[1:]]
        plan = plan_along([names[tier] for tier in self.route], hops, len(model.graph))
        sent = sum(model.graph.payload_bytes[cut] for cut in hops)
        return RankedPlan(plan.on(model.profile.runtimes), latency_s, sent)

    def _segments(self) -> Iterator[tuple[int, Ints, Ints]]:
        yield from zip(self.tiers, self.cuts[:-1], self.cuts[1:], strict=True)

    def _runs(self, criterion: Criterion) -> Mask:
        """Which plans run its layer, or anything, on its tier."""
        names, found = self.model.profile.names, np.zeros(self.cuts.shape[1], dtype=bool)
        for tier, start, stop in self._segments():
            if plays(names[tier], criterion.tier):
                layer = criterion.layer
                found |= start < stop if layer is None else (start <= layer) & (layer < stop)
        return found


def _pipelines(model: CostModel) -> Iterator[Pipeline]:
    """All there are: of the entry tier, which may run nothing, and at most two behind it."""
    n, names = len(model.graph), model.profile.names
    zero, every = np.zeros(n, dtype=np.intp), np.arange(n)
    yield Pipeline(model, (0,), (), np.array([[0], [n]]))
    first, second = np.triu_indices(n, 1)
    for near in range(1, len(names)):
        way = uplink(model, 0, near)
        if way is None:
            continue
        yield Pipeline(model, (0, near), (way,), np.stack([zero, every, zero + n]))
        for far in range(near + 1, len(names)):
            if far in way.route or _role(names[near]) == _role(names[far]):
                continue
            onward = uplink(model, near, far, avoid=way.route)
            if onward is None:
                continue
            start, end = np.zeros_like(first), np.full_like(first, n)
            cuts = np.stack([start, first, second, end])
            yield Pipeline(model, (0, near, far), (way, onward), cuts)


def _role(name: str) -> str:
    """What `edge-2` plays: `edge`. A name of another form is a role of its own."""
    role, dash, number = name.rpartition("-")
    return role if dash and number.isdigit() else name
