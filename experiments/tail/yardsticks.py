"""What adaptive plans are held against: the best static and trivial plan, and clairvoyance."""

from dataclasses import dataclass

import numpy as np

from edgesplit.core.cost import CostModel
from edgesplit.core.failover import failover_timeouts
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan
from experiments.shared.stated_devices import END
from experiments.shared.trace import Floats
from experiments.tail.passage import Course, Noise


@dataclass(frozen=True)
class Fixed:
    """A plan for all requests. latency_s, end_j: (requests,)."""

    plan: Plan
    latency_s: Floats
    end_j: Floats


def fixed(course: Course, plan: Plan, at_s: Floats, noise: Noise, goal: Goal) -> Fixed:
    """What becomes of requests on that plan; the end tier fails over as the product does."""
    done = course.passage(plan, at_s, noise)
    back_s, first = done.back_s, course.cuts(plan)[0]
    transmit_s = done.gone_s - done.sent_s
    compute_s = done.sent_s - at_s
    receive_s = done.receive_s
    if plan.route != (END,):
        waits_s = failover_timeouts(CostModel(course.graph, course.profile, goal), plan)[1]
        late = back_s - done.sent_s > waits_s
        rest_s = course.rest_s(first) * noise.rest
        back_s = np.where(late, done.sent_s + waits_s + rest_s, back_s)
        compute_s = compute_s + np.where(late, rest_s, 0.0)
        transmit_s = np.where(late, np.minimum(transmit_s, waits_s), transmit_s)
        receive_s = np.where(late, 0.0, receive_s)
    power = course.profile.tier(END).power
    end_j = (
        power.compute_w * compute_s + power.transmit_w * transmit_s + power.receive_w * receive_s
    )
    return Fixed(plan, back_s - at_s, end_j)


def best_fixed(course: Course, plans: list[Plan], at_s: Floats, noise: Noise, goal: Goal) -> Fixed:
    """Of those plans the one of least mean latency, in hindsight."""
    every = (fixed(course, plan, at_s, noise, goal) for plan in plans)
    return min(every, key=lambda one: float(one.latency_s.mean()))


def clairvoyant(course: Course, at_s: Floats, noise: Noise) -> tuple[Floats, Floats]:
    """(latencies, end joules) where each request takes the plan that is quickest for it."""
    power = course.profile.tier(END).power
    best_s, best_j = np.full(len(at_s), np.inf), np.zeros(len(at_s))
    for plan in course.every_plan():
        done = course.passage(plan, at_s, noise)
        latency_s = done.back_s - at_s
        joules = (
            power.compute_w * (done.sent_s - at_s)
            + power.transmit_w * (done.gone_s - done.sent_s)
            + power.receive_w * done.receive_s
        )
        best_j = np.where(latency_s < best_s, joules, best_j)
        best_s = np.minimum(best_s, latency_s)
    return best_s, best_j
