"""What becomes of a request on one plan while the link of the end tier follows a trace.

Arrays hold many requests at once. No request waits for another: neither devices nor links queue.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.profile import Profile
from experiments.shared.stated_devices import CLOUD, EDGE, END, LATENCY_S, TIERS
from experiments.shared.trace import Floats, Trace

SIGMA = 0.05  # of the lognormal factor on every device's seconds and on the fixed link's
OUTLIERS, OUTLIER_FACTOR = 0.002, (1.5, 3.0)  # share of seconds that are so much longer


@dataclass(frozen=True)
class Noise:
    """Factors of each request, the same whatever its plan: (requests,) each.

    end: of the first segment. rest: of what the end tier runs in a hedge or failover.
    """

    end: Floats
    rest: Floats
    edge: Floats
    cloud: Floats
    wan: Floats

    def of(self, number: int) -> "Noise":
        """That of one request."""
        return Noise(*(getattr(self, item.name)[number] for item in fields(self)))


def drawn_noise(requests: int, generator: np.random.Generator) -> Noise:
    """Lognormal, and now and then an outlier."""

    def column() -> Floats:
        factors = generator.lognormal(0.0, SIGMA, requests)
        late = generator.random(requests) < OUTLIERS
        return np.where(late, factors * generator.uniform(*OUTLIER_FACTOR, requests), factors)

    return Noise(*(column() for _ in fields(Noise)))


@dataclass(frozen=True)
class Passage:
    """Seconds since the trace began; floats or (requests,).

    sent_s: the end tier has run its segment and begins to send. gone_s: the payload's last byte
    left. back_s: the answer is there. receive_s: how long the reply took to receive. edge_s,
    cloud_s: computing there. wan_s: the hop in between, both ways.
    """

    sent_s: Any
    gone_s: Any
    back_s: Any
    receive_s: Any
    edge_s: Any
    cloud_s: Any
    wan_s: Any


class Course:
    """One model on the stated devices over one trace."""

    def __init__(self, graph: Graph, profile: Profile, trace: Trace) -> None:
        self.graph, self.profile, self.trace = graph, profile, trace

    @cached_property
    def prefix_s(self) -> dict[str, Floats]:
        """Seconds of layers 0..k of each tier."""
        layers = {tier.name: np.asarray(tier.layer_s) for tier in self.profile.tiers}
        return {name: np.concatenate([[0.0], np.cumsum(s)]) for name, s in layers.items()}

    def rest_s(self, cut: int) -> float:
        """What the end tier takes for the layers from that cut on, without noise."""
        return float(self.prefix_s[END][-1] - self.prefix_s[END][cut])

    def passage(self, plan: Plan, at_s: Any, noise: Noise) -> Passage:
        """Requests that begin at those times, on a plan along end, edge, cloud."""
        first, second = self.cuts(plan)
        sizes, reply = self.graph.payload_bytes, self.graph.output_bytes
        sent_s = at_s + self.prefix_s[END][first] * noise.end
        if plan.route == (END,):
            nothing = 0.0 * sent_s
            return Passage(sent_s, sent_s, sent_s, nothing, nothing, nothing, nothing)
        gone_s = sent_s + self.trace.transfer_s(sent_s, sizes[first])
        edge_s = (self.prefix_s[EDGE][second] - self.prefix_s[EDGE][first]) * noise.edge
        cloud_s, wan_s = 0.0 * edge_s, 0.0 * edge_s
        if CLOUD in plan.route:
            cloud_s = (self.prefix_s[CLOUD][-1] - self.prefix_s[CLOUD][second]) * noise.cloud
            link = self.profile.link(EDGE, CLOUD)
            assert link is not None, "the table has it"
            busy_s = (sizes[second] + reply) / link.bytes_per_s
            wan_s = 2 * link.latency_s + busy_s * noise.wan
        ready_s = gone_s + LATENCY_S + edge_s + wan_s + cloud_s
        receive_s = self.trace.transfer_s(ready_s, reply)
        back_s = ready_s + LATENCY_S + receive_s
        return Passage(sent_s, gone_s, back_s, receive_s, edge_s, cloud_s, wan_s)

    def cuts(self, plan: Plan) -> tuple[int, int]:
        """Where the end tier stops and where the edge does."""
        stops = [stage.stop for stage in plan.stages]
        return stops[0], stops[min(1, len(stops) - 1)]

    def every_plan(self) -> list[Plan]:
        """Along end, edge, cloud: all cuts; a tier at the route's end runs something."""
        n = len(self.graph)
        plans = [plan_along(TIERS[:1], (), n)]
        for first in range(n):
            plans.append(plan_along(TIERS[:2], (first,), n))
            plans += [plan_along(TIERS, (first, second), n) for second in range(first, n)]
        return plans

    def trivial_plans(self) -> list[Plan]:
        """All layers on one tier."""
        n = len(self.graph)
        return [plan_along(TIERS[: k + 1], (0,) * k, n) for k in range(len(TIERS))]
