"""What only hindsight can choose: every plan for every request, with queues, as arrays over plans.

Requests are taken in the order in which they come; each takes tiers and links when it gets there
and they are free. No request overtakes another here, and none fails over: a plan that meets a tier
that is away never ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import numpy as np

from edgesplit.core.cost import CostModel, Terms
from edgesplit.core.plan import Plan, plan_along
from experiments.head_to_head.journey import watts_of
from experiments.head_to_head.served import Floats, Served
from experiments.head_to_head.world import Noise, Pair, World
from experiments.shared.exhaustive import simple_routes

Key = Pair | str
MOST_TIERS = 3  # of a route


@dataclass
class Queues:
    """When each tier and link is free, and how many of the others' works it has had.

    Numbers, or arrays over plans.
    """

    free_s: dict[Key, Floats] = field(default_factory=dict)
    others: dict[Key, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Passed:
    """One request on every plan of a route: arrays over plans; queues: as it leaves them."""

    latency_s: Floats
    end_j: Floats
    total_j: Floats
    waited_s: Floats
    queues: Queues


class Route:
    """All plans along one route: cuts (plans, hops)."""

    def __init__(self, world: World, noise: Noise, tiers: Sequence[str]) -> None:
        self._world, self._noise, self.tiers = world, noise, tuple(tiers)
        n = len(world.graph)
        self.edges = np.array([[0, *cuts, n] for cuts in cuts_along(n, len(tiers) - 1)])
        self._sizes = np.array(world.graph.payload_bytes, dtype=float)
        self._prefix_s = {name: np.array(row) for name, row in world.prefix_s.items()}
        self._watts = watts_of(world.profile)
        self._delay_s = {link.pair: link.latency_s for link in world.profile.links}

    def __len__(self) -> int:
        return len(self.edges)

    def plan(self, number: int) -> Plan:
        """The plan of that row."""
        cuts = self.edges[number, 1:-1].tolist()
        return plan_along(self.tiers, cuts, len(self._world.graph))

    def pass_(self, request: int, at_s: float, queues: Queues) -> Passed:
        """That request on each plan."""
        return _Pass(self, request, at_s, queues).done()

    # What _Pass needs

    def work_s(self, request: int, k: int) -> Floats:
        """Seconds of work of stage k."""
        prefix_s = self._prefix_s[self.tiers[k]]
        start, stop = self.edges[:, k], self.edges[:, k + 1]
        factor = self._noise.tiers[self.tiers[k]][request]
        seconds: Floats = (prefix_s[stop] - prefix_s[start]) * factor
        return seconds

    def sent_bytes(self, request: int, k: int) -> Floats:
        """Bytes of the payload behind stage k, with the link's noise."""
        pair = self.tiers[k], self.tiers[k + 1]
        sent: Floats = self._sizes[self.edges[:, k + 1]] * self._noise.links[pair][request]
        return sent

    def reply_bytes(self, request: int, k: int) -> float:
        """Bytes of the answer on its way back from stage k."""
        pair = self.tiers[k], self.tiers[k - 1]
        return float(self._sizes[-1] * self._noise.links[pair][request])


class _Pass:
    """One request along all plans of a route, step by step."""

    def __init__(self, route: Route, request: int, at_s: float, queues: Queues) -> None:
        self._route, self._request, self._at_s = route, request, at_s
        self._world, self._watts = route._world, route._watts
        count = len(route)
        self._now = np.full(count, at_s)
        self._end_j, self._total_j = np.zeros(count), np.zeros(count)
        self._waited_s = np.zeros(count)
        self._queues = Queues(dict(queues.free_s), dict(queues.others))

    def done(self) -> Passed:
        """All of it."""
        route, tiers = self._route, self._route.tiers
        for k, tier in enumerate(tiers):
            self._meet(tier)
            self._compute(tier, route.work_s(self._request, k))
            self._meet(tier)
            if k < len(tiers) - 1:
                self._move((tier, tiers[k + 1]), route.sent_bytes(self._request, k))
        for k in range(len(tiers) - 1, 0, -1):
            n_bytes = np.full(len(route), route.reply_bytes(self._request, k))
            self._move((tiers[k], tiers[k - 1]), n_bytes)
        latency_s = self._now - self._at_s
        return Passed(latency_s, self._end_j, self._total_j, self._waited_s, self._queues)

    def _meet(self, tier: str) -> None:
        for outage in self._world.outages:
            if outage.tier == tier:
                is_lost = (outage.from_s <= self._now) & (self._now < outage.until_s)
                self._now = np.where(is_lost, np.inf, self._now)

    def _compute(self, tier: str, work_s: Floats) -> None:
        has_work = work_s > 0
        free_s = self._free_s(tier)
        start_s = np.where(has_work, np.maximum(self._now, free_s), self._now)
        took_s = self._takes(tier, start_s, work_s)
        self._book(tier, start_s, took_s, has_work)
        self._charge(tier, "compute", took_s)

    def _move(self, pair: Pair, n_bytes: Floats) -> None:
        start_s = np.maximum(self._now, self._free_s(pair))
        took_s = self._takes(pair, start_s, n_bytes)
        self._book(pair, start_s, took_s, np.ones(len(start_s), dtype=bool))
        self._charge(pair[0], "transmit", took_s)
        self._charge(pair[1], "receive", took_s)
        self._now = self._now + self._route._delay_s[pair]

    def _takes(self, key: Key, start_s: Floats, amount: Floats) -> Floats:
        traces = self._world.tier_traces if isinstance(key, str) else self._world.link_traces
        trace = traces[key]  # type: ignore[index]
        if len(trace.bytes_per_s) == 1:
            return amount / trace.bytes_per_s[0]
        known_s = np.where(np.isfinite(start_s), start_s, 0.0)
        return np.asarray(trace.transfer_s(known_s, amount))

    def _book(self, key: Key, start_s: Floats, took_s: Floats, is_used: np.ndarray) -> None:
        """It is taken from then on; who never gets there takes nothing."""
        is_used = is_used & np.isfinite(start_s)
        waited_s = np.subtract(start_s, self._now, out=np.zeros_like(start_s), where=is_used)
        self._waited_s = self._waited_s + waited_s
        ends_s = start_s + took_s
        free_s = self._queues.free_s.get(key, np.float64(0.0))
        self._queues.free_s[key] = np.where(is_used, ends_s, free_s)
        self._now = ends_s

    def _free_s(self, key: Key) -> Floats:
        """When it is free for what comes now, the others' works that came before included."""
        free_s = self._queues.free_s.get(key, np.float64(0.0))
        works = self._world.others.get(key, ()) if isinstance(key, str) else ()
        if not works:
            return np.asarray(free_s)
        free = np.broadcast_to(free_s, self._now.shape).copy()
        had = np.broadcast_to(self._queues.others.get(key, np.float64(0)), free.shape).astype(int)
        came_s = np.array([at_s for at_s, _ in works] + [np.inf])
        took_s = np.array([seconds for _, seconds in works] + [0.0])
        now_s = np.where(np.isfinite(self._now), self._now, 0.0)
        while (is_next := came_s[had] <= now_s).any():
            busy_s = np.maximum(free, came_s[had]) + took_s[had]
            free, had = np.where(is_next, busy_s, free), had + is_next
        self._queues.free_s[key], self._queues.others[key] = free, had
        return free

    def _charge(self, tier: str, phase: str, seconds: Floats) -> None:
        joules = self._watts.by_tier[tier][phase] * seconds
        self._total_j = self._total_j + joules
        if tier == self._watts.entry:
            self._end_j = self._end_j + joules


def cuts_along(n_layers: int, hops: int) -> list[tuple[int, ...]]:
    """Every choice of cuts along a route whose last tier runs something."""
    every = combinations_with_replacement(range(n_layers), hops)
    return list(every)


def routes_of(world: World, noise: Noise) -> list[Route]:
    """Every simple route of at most MOST_TIERS tiers, with all its plans."""
    return [Route(world, noise, tiers) for tiers in simple_routes(world.profile, MOST_TIERS)]


@dataclass(frozen=True)
class Screened:
    """Every request on every plan, each plan alone: (requests, plans). Infinite: never ends."""

    plans: list[Plan]
    latency_s: Floats
    end_j: Floats
    total_j: Floats

    def best(self, model: CostModel, most: int, lost_s: float) -> list[Plan]:
        """The plans of least mean score, where an answer that never comes takes lost_s."""
        latency_s = np.where(np.isfinite(self.latency_s), self.latency_s, lost_s)
        scores = model.score(Terms(latency_s, self.end_j, self.total_j)).mean(axis=0)
        return [self.plans[place] for place in np.argsort(scores, kind="stable")[:most]]


def screened(world: World, noise: Noise, at_s: Floats) -> Screened:
    """What each plan would do, had all requests taken it."""
    plans, columns = list[Plan](), list[tuple[Floats, Floats, Floats]]()
    for route in routes_of(world, noise):
        queues, rows = Queues(), []
        for request, begin_s in enumerate(at_s.tolist()):
            passed = route.pass_(request, begin_s, queues)
            queues = passed.queues
            rows.append((passed.latency_s, passed.end_j, passed.total_j))
        plans += [route.plan(number) for number in range(len(route))]
        columns.append(tuple(np.array(part) for part in zip(*rows, strict=True)))  # type: ignore[arg-type]
    joined = [np.concatenate(part, axis=1) for part in zip(*columns, strict=True)]
    return Screened(plans, *joined)


def clairvoyant(world: World, noise: Noise, at_s: Floats, model: CostModel) -> Served:
    """Each request takes the plan of least score for it, with the queues as they are when it comes.

    It knows the trace, slowdowns, outages, the others' works and the noise; it does not spare
    later requests.
    """
    queues, rows, plans = Queues(), [], []
    routes = routes_of(world, noise)
    for request, begin_s in enumerate(at_s.tolist()):
        passed = [route.pass_(request, begin_s, queues) for route in routes]
        scores = [model.score(Terms(p.latency_s, p.end_j, p.total_j)) for p in passed]
        along = int(np.argmin([float(part.min()) for part in scores]))
        number, best = int(np.argmin(scores[along])), passed[along]
        plans.append(str(routes[along].plan(number)))
        queues = _only(best.queues, number)
        figures = (best.latency_s, best.end_j, best.total_j, best.waited_s)
        rows.append([float(part[number]) for part in figures])
    latency_s, end_j, total_j, waited_s = np.array(rows).T
    never = np.zeros(len(plans), dtype=bool)
    return Served(latency_s, end_j, total_j, waited_s, plans, never, never)


def _only(queues: Queues, number: int) -> Queues:
    """The queues as that plan leaves them."""

    def pick(values: Floats) -> Floats:
        return np.asarray(values[number] if np.ndim(values) else values)

    return Queues(
        {key: pick(values) for key, values in queues.free_s.items()},
        {key: pick(values) for key, values in queues.others.items()},
    )
