"""A policy made up for tests, which learns from requests and tries out what it does not know."""

import math
from dataclasses import dataclass, replace

from edgesplit.core.plan import parse_plan
from edgesplit.errors import PlanError

TRIED = ("end:0-16", "end:0-8 | edge:8-16", "end:0-0 | edge:0-0 | cloud:0-16")


@dataclass(frozen=True)
class TriesOut:
    """Each plan once, then the one that took least; a plan that it does not know is not learnt.

    took: (plan, seconds) of those tried. slowdowns: of the last tier, as believed at each request.
    """

    took: tuple[tuple[str, float], ...] = ()
    slowdowns: tuple[float, ...] = ()
    plans: tuple[str, ...] = TRIED
    is_followed: bool = True

    def __call__(self, graph, profile, goal):
        took = dict(self.took)
        return parse_plan(min(self.plans, key=lambda plan: took.get(plan, -math.inf)))

    def after(self, graph, profile, timings):
        if not timings:
            raise PlanError("there is nothing to learn from a request without timings")
        ran = " | ".join(f"{t.tier}:{t.start}-{t.stop}" for t in timings)
        took = {**dict(self.took), ran: timings[0].own_s}
        slowdowns = (*self.slowdowns, profile.tiers[-1].slowdown)
        return replace(self, took=tuple(took.items()), slowdowns=slowdowns)
