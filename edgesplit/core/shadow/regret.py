"""What every policy would have cost on the requests of a recording, and what was left to save.

What was run is as measured. All else is modelled: measured + what the cost model says that another
plan differs by, under the conditions that each request met.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple

import numpy as np

from edgesplit.core.control.event_file import EventLog
from edgesplit.core.energy.provenance import predicted
from edgesplit.core.policies.policy import Policy
from edgesplit.core.shadow.bootstrap import BlockDraws, blocks_of
from edgesplit.core.shadow.outcome import Regret, ShadowOutcome
from edgesplit.core.shadow.past_request import PastRequest, RequestCost
from edgesplit.core.shadow.played import Course, along, played, window_of
from edgesplit.core.shadow.static import best_static
from edgesplit.errors import EventFileError


def regret(
    log: EventLog,
    policies: Mapping[str, Policy],
    generator: np.random.Generator,
    last_s: float | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Regret:
    """Give the events to the policies, and look at the requests of the last seconds, None: at all.

    The same for the same log and generator. progress: is told which share of the time is done.
    Raises EventFileError where no request can be compared, or an event cannot be played.
    """
    began_s = log.start.now_s
    ended_s = log.entries[-1][0].at_s if log.entries else began_s
    since_s = began_s if last_s is None else max(began_s, ended_s - last_s)
    span_s = max(1e-9, ended_s - since_s)
    window = window_of(log, since_s)
    found = played(log, policies, window, lambda at_s: progress((at_s - since_s) / span_s))
    graph, requests = log.start.graph, found.requests
    left_out = {reason: count for reason, count in found.left_out.items() if count}
    if not requests:
        why = "".join(f"; {count} {reason}" for reason, count in left_out.items())
        raise EventFileError(f"no request came back as planned in that time{why}")
    table, last = _OutcomeTable(requests, blocks_of(len(requests), generator)), requests[-1]
    courses = {name: courses for name, courses in found.courses.items() if any(courses)}
    shadows = [table.outcome(name, each) for name, each in courses.items()]
    return Regret(
        graph=graph.name,
        policy=log.policy,
        energy=predicted(last.met, last.goal.boundary),
        requests=len(requests),
        every=window.every,
        span_s=last.at_s - requests[0].at_s,
        kept_s=ended_s - began_s,
        asked_s=last_s,
        left_out=left_out,
        unmeasured=found.unmeasured,
        block=table.blocks.length,
        ran=table.outcome("as run", [Course(one.plan, one.spent) for one in requests]),
        static=table.outcome("best static", along(graph, requests, best_static(graph, requests))),
        clairvoyant=table.outcome("clairvoyant", found.best),
        shadows=tuple(sorted(shadows, key=lambda one: one.mean.score)),
        without_plan=tuple(name for name in found.courses if name not in courses),
    )


class _OutcomeTable:
    """Of requests in order of time; all outcomes are compared with what was run."""

    def __init__(self, requests: Sequence[PastRequest], blocks: BlockDraws) -> None:
        self.blocks = blocks
        self._ran = np.array([request.spent.score for request in requests])
        self._limits = [request.goal.latency_limit_s for request in requests]

    def outcome(self, policy: str, courses: Sequence[Course | None]) -> ShadowOutcome:
        """Of one policy; some of its courses are there."""
        there = [(i, course) for i, course in enumerate(courses) if course is not None]
        rows = np.array([astuple(course.spent) for _, course in there])
        ran = self._ran[[i for i, _ in there]]
        counts = Counter(str(course.plan) for _, course in there)
        plans = tuple((plan, n / len(there)) for plan, n in counts.most_common())
        limits = [(course.spent.latency_s, self._limits[i]) for i, course in there]
        late = [latency_s > limit_s for latency_s, limit_s in limits if limit_s is not None]
        return ShadowOutcome(
            policy,
            len(there),
            plans,
            RequestCost(*rows.mean(axis=0).tolist()),
            self.blocks.saving(ran, rows[:, 3]),
            sum(late) / len(late) if late else None,
        )
