"""What is true while requests are replayed: devices, links over a trace, load, others, outages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from edgesplit.core.graph import Graph
from edgesplit.core.profile import Profile
from experiments.head_to_head.flow import Flow
from experiments.shared.trace import Trace

SIGMA = 0.05  # of the lognormal factor on every device's seconds and on links without a trace
OUTLIERS, OUTLIER_FACTOR = 0.002, (1.5, 3.0)  # share of seconds that are so much longer
WINDOW_S = 3.0  # over which rates and slowdowns are averaged for policies that are told them
LEAST_BYTES_PER_S = 1e3  # that a link is ever believed to carry
FOREVER_S = 1e6

Pair = tuple[str, str]


@dataclass(frozen=True)
class Outage:
    """The tier answers nobody from then until then, and keeps nothing."""

    tier: str
    from_s: float
    until_s: float


@dataclass(frozen=True)
class World:
    """Everything but the requests and the policy.

    profile: as calibrated; it holds apart from what follows. trace: what every link of the entry
    tier carries, each way by itself. speeds: of tiers, 1 as profiled. others: by tier, what another
    device has computed there: (when it comes, seconds of work).
    """

    graph: Graph
    profile: Profile
    trace: Trace
    speeds: Mapping[str, Trace] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()
    others: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)

    def is_lost(self, tier: str, at_s: float) -> bool:
        """Whether the tier is away then."""
        return any(one.tier == tier and one.from_s <= at_s < one.until_s for one in self.outages)

    def follows_trace(self, pair: Pair) -> bool:
        """Whether that link is the entry tier's."""
        return self.profile.entry_tier in pair

    @cached_property
    def link_traces(self) -> dict[Pair, Trace]:
        """What each link carries, in bytes."""
        return {
            ln.pair: self.trace if self.follows_trace(ln.pair) else constant(ln.bytes_per_s)
            for ln in self.profile.links
        }

    @cached_property
    def tier_traces(self) -> dict[str, Trace]:
        """How quick each tier is, in seconds of work as profiled."""
        return {name: self.speeds.get(name, _AS_PROFILED) for name in self.profile.names}

    @cached_property
    def flows(self) -> dict[Pair | str, Flow]:
        """The same for one request at a time, of links and tiers."""
        links, tiers = self.link_traces, self.tier_traces
        made = {id(trace): Flow(trace) for trace in (*links.values(), *tiers.values())}
        flows: dict[Pair | str, Flow] = {pair: made[id(trace)] for pair, trace in links.items()}
        return flows | {tier: made[id(trace)] for tier, trace in tiers.items()}

    @cached_property
    def prefix_s(self) -> dict[str, list[float]]:
        """Seconds of layers 0..k of each tier as profiled."""
        return {
            tier.name: [0.0, *np.cumsum(np.asarray(tier.layer_s) * tier.slowdown).tolist()]
            for tier in self.profile.tiers
        }

    def told(self, at_s: float) -> Profile:
        """What policies are told before a request: means over the last WINDOW_S, free of charge.

        Rates of links on the trace and slowdowns of tiers, as if they were measured all the time.
        """
        since_s = max(0.0, at_s - WINDOW_S)
        if at_s <= since_s:
            return self.profile
        rate = max(LEAST_BYTES_PER_S, self._entry_flow.mean(since_s, at_s))
        links = tuple(
            replace(ln, bytes_per_s=rate) if self.follows_trace(ln.pair) else ln
            for ln in self.profile.links
        )
        tiers = tuple(
            replace(t, slowdown=t.slowdown / self.flows[t.name].mean(since_s, at_s))
            if t.name in self.speeds
            else t
            for t in self.profile.tiers
        )
        return replace(self.profile, tiers=tiers, links=links)

    @cached_property
    def _entry_flow(self) -> Flow:
        return Flow(self.trace)


def constant(rate: float) -> Trace:
    """The same rate for good."""
    return Trace("constant", (0.0,), (rate,), FOREVER_S)


_AS_PROFILED = constant(1.0)


@dataclass(frozen=True)
class Noise:
    """Factors of each request, the same whatever its plan and policy: (requests,) each.

    tiers: by name. rest: of what a tier runs in another's place. links: of those without a trace.
    """

    tiers: Mapping[str, np.ndarray]
    rest: np.ndarray
    links: Mapping[Pair, np.ndarray]


def drawn_noise(world: World, requests: int, generator: np.random.Generator) -> Noise:
    """Lognormal, and now and then an outlier."""

    def column() -> np.ndarray:
        factors = generator.lognormal(0.0, SIGMA, requests)
        late = generator.random(requests) < OUTLIERS
        return np.where(late, factors * generator.uniform(*OUTLIER_FACTOR, requests), factors)

    tiers = {name: column() for name in world.profile.names}
    rest = column()
    pairs = [ln.pair for ln in world.profile.links]
    links = {pair: np.ones(requests) if world.follows_trace(pair) else column() for pair in pairs}
    return Noise(tiers, rest, links)


def no_noise(world: World, requests: int) -> Noise:
    """None: all is as profiled."""
    ones = np.ones(requests)
    pairs = [ln.pair for ln in world.profile.links]
    return Noise(dict.fromkeys(world.profile.names, ones), ones, dict.fromkeys(pairs, ones))
