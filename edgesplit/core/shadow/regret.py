"""What every policy would have cost on the requests of a recording, and what was left to save.

What was run is as measured. All else is modelled: measured + what the cost model says that another
plan differs by, under the conditions that each request met.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from edgesplit.core.control.event_file import EventLog
from edgesplit.core.energy.provenance import predicted
from edgesplit.core.policies.policy import Policy
from edgesplit.core.shadow.bootstrap import Blocks, Saving, blocks_of
from edgesplit.core.shadow.history import PastRequest, Spent
from edgesplit.core.shadow.played import Way, Window, along, played, window_of
from edgesplit.core.shadow.static import best_static
from edgesplit.errors import EventFileError


@dataclass(frozen=True)
class ShadowOutcome:
    """What one policy cost, or would have cost.

    requests: for how many it had a plan that could run; the rest is of those. plans: along which
    they went, with their shares, most used first. mean: of a request. saved: of the score, over
    what was run. late: the share over the latency limit; None: there is no limit.
    """

    policy: str
    requests: int
    plans: tuple[tuple[str, float], ...]
    mean: Spent
    saved: Saving
    late: float | None = None


@dataclass(frozen=True)
class Regret:
    """The outcomes of one workload.

    policy: the session's, empty for a function. began_s, ended_s: of the requests looked at, on
    the clock of the events. left_out: requests that say nothing of other plans, by the reason.
    block: requests that the bootstrap keeps together. static: the best plan for all of them, in
    hindsight; clairvoyant: the best one for each. shadows: of every policy, least score first;
    without_plan: policies that never had a plan that could run.
    """

    graph: str
    policy: str
    energy: str
    window: Window
    began_s: float
    ended_s: float
    requests: int
    left_out: Mapping[str, int]
    block: int
    ran: ShadowOutcome
    static: ShadowOutcome
    clairvoyant: ShadowOutcome
    shadows: tuple[ShadowOutcome, ...]
    without_plan: tuple[str, ...]


def regret(
    log: EventLog,
    policies: Mapping[str, Policy],
    generator: np.random.Generator,
    since_s: float,
    progress: Callable[[float], None] = lambda at_s: None,
) -> Regret:
    """Give the events to the policies, and look at the requests since that moment of their clock.

    The same for the same log and generator. progress: as of played(). Raises EventFileError where
    no request can be compared, or an event cannot be played.
    """
    found = played(log, policies, window_of(log, since_s), progress)
    graph, requests = log.start.graph, found.requests
    left_out = {reason: count for reason, count in found.left_out.items() if count}
    if not requests:
        why = "".join(f"; {count} {reason}" for reason, count in left_out.items())
        raise EventFileError(f"no request came back as planned in that time{why}")
    table, last = _Table(requests, blocks_of(len(requests), generator)), requests[-1]
    ways = {name: ways for name, ways in found.ways.items() if any(ways)}
    shadows = [table.outcome(name, each) for name, each in ways.items()]
    return Regret(
        graph=graph.name,
        policy=log.policy,
        energy=predicted(last.met, last.goal.boundary),
        window=found.window,
        began_s=requests[0].at_s,
        ended_s=last.at_s,
        requests=len(requests),
        left_out=left_out,
        block=table.blocks.length,
        ran=table.outcome("as run", [Way(one.plan, one.spent) for one in requests]),
        static=table.outcome("best static", along(graph, requests, best_static(graph, requests))),
        clairvoyant=table.outcome("clairvoyant", found.best),
        shadows=tuple(sorted(shadows, key=lambda one: one.mean.score)),
        without_plan=tuple(name for name in found.ways if name not in ways),
    )


class _Table:
    """Of requests in order of time; all outcomes are compared with what was run."""

    def __init__(self, requests: Sequence[PastRequest], blocks: Blocks) -> None:
        self.blocks = blocks
        self._ran = np.array([request.spent.score for request in requests])
        self._limits = [request.goal.latency_limit_s for request in requests]

    def outcome(self, policy: str, ways: Sequence[Way | None]) -> ShadowOutcome:
        """Of one policy; some of its ways are there."""
        there = [(i, way) for i, way in enumerate(ways) if way is not None]
        rows = np.array([astuple(way.spent) for _, way in there])
        ran = self._ran[[i for i, _ in there]]
        counts = Counter(str(way.plan) for _, way in there)
        plans = tuple((plan, n / len(there)) for plan, n in counts.most_common())
        limits = [(way.spent.latency_s, self._limits[i]) for i, way in there]
        late = [latency_s > limit_s for latency_s, limit_s in limits if limit_s is not None]
        return ShadowOutcome(
            policy,
            len(there),
            plans,
            Spent(*rows.mean(axis=0).tolist()),
            self.blocks.saving(ran, rows[:, 3]),
            sum(late) / len(late) if late else None,
        )
