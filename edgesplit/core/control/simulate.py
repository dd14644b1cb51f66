"""Drive the control loop without Ray in a simulated world of requests, tiers and links.

Deterministic: the same world and generator seed give the same actions.
"""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from edgesplit.core.coding import coding_s, sent_bytes
from edgesplit.core.control.event import (
    Action,
    Activate,
    Event,
    LinkProbed,
    MeasureTier,
    Observed,
    Prepare,
    ProbeLink,
    Ready,
    Tick,
    TierJoined,
    TierLost,
    TierMeasured,
)
from edgesplit.core.control.state import ControlState
from edgesplit.core.control.step import Step, step
from edgesplit.core.payload_codec import AS_IS
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming


@dataclass(frozen=True)
class World:
    """What is true while requests run one after another.

    profile: at first, with the row of every runtime that a plan may ever name; changes: (from
    when, profile). events: what happens besides, such as TierLost or LayerTimesMeasured. silences:
    (tier, from when, until when) it answers nobody. noise: sigma of a lognormal on every duration;
    outliers: share of durations that take 2-5 times as long.
    prepare_s: until a tier is ready. pause_s: between two requests.
    """

    profile: Profile
    changes: tuple[tuple[float, Profile], ...] = ()
    events: tuple[Event, ...] = ()
    silences: tuple[tuple[str, float, float], ...] = ()
    noise: float = 0.1
    outliers: float = 0.03
    prepare_s: float = 0.2
    pause_s: float = 0.0
    tick_s: float = 0.1

    def at(self, at_s: float) -> Profile:
        """The profile that is true at that time."""
        true = self.profile
        for since_s, profile in self.changes:
            if since_s <= at_s:
                true = profile
        return true

    def is_silent(self, tier: str, at_s: float) -> bool:
        """Whether the tier answers nobody at that time."""
        return any(name == tier and a <= at_s < b for name, a, b in self.silences)


@dataclass(frozen=True)
class SimulatedRequest:
    """One simulated request. failed_over: a tier of its plan was away; another one finished it."""

    start_s: float
    latency_s: float
    plan: Plan
    failed_over: bool


@dataclass(frozen=True)
class Switch:
    """One Activate, and when."""

    at_s: float
    plan: Plan
    reason: str


@dataclass
class SimulatedRun:
    """What a simulation did. events: all that `step` was given, so that it can be replayed."""

    state: ControlState
    requests: list[SimulatedRequest] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    asks: list[tuple[float, Action]] = field(default_factory=list)
    prepares: int = 0


def simulate(
    started: Step, world: World, until_s: float, generator: np.random.Generator
) -> SimulatedRun:
    """Run requests, probes and preparations in `world` from the state's time until `until_s`."""
    simulation = _Simulation(started[0], world, generator)
    simulation.carry_out(started[1])
    for event in world.events:
        simulation.put(event)
    simulation.put(Tick(started[0].now_s))
    simulation.run_until(until_s)
    return simulation.run


class _Simulation:
    """Events in order of time, and the one request that is under way."""

    def __init__(self, state: ControlState, world: World, generator: np.random.Generator) -> None:
        self.run, self._world, self._generator = SimulatedRun(state), world, generator
        self._queue: list[tuple[float, int, Event]] = []
        self._count = 0
        self._free_s = state.now_s
        self._lost: set[str] = set()

    def put(self, event: Event) -> None:
        """Let it happen at its time; first come, first served within the same instant."""
        heapq.heappush(self._queue, (event.at_s, self._count, event))
        self._count += 1

    def run_until(self, until_s: float) -> None:
        """Take events in turn, starting the next request as soon as the last one is over."""
        while self._queue and self._queue[0][0] <= until_s:
            at_s, _, event = heapq.heappop(self._queue)
            if isinstance(event, Tick):
                self.put(Tick(at_s + self._world.tick_s))
            if isinstance(event, TierLost):
                self._lost.add(event.tier)
            if isinstance(event, TierJoined):
                self._lost.discard(event.tier)
            self.run.events.append(event)
            self.run.state, actions = step(self.run.state, event)
            self.carry_out(actions)
            if self.run.state.active is not None and at_s >= self._free_s:
                self._request(at_s, self.run.state.active)

    def carry_out(self, actions: Iterable[Action]) -> None:
        """Do what `step` asks for; the answers come back as events."""
        now_s, true = self.run.state.now_s, self._world.at(self.run.state.now_s)
        for action in actions:
            match action:
                case Prepare(plan):
                    self.run.prepares += 1
                    for tier in set(plan.route) - self._lost:
                        self.put(Ready(now_s + self._noisy(self._world.prepare_s), plan, tier))
                case Activate(plan, reason):
                    self.run.switches.append(Switch(now_s, plan, reason))
                case ProbeLink() | MeasureTier():
                    self.run.asks.append((now_s, action))
                    self._answer(now_s, true, action)

    def _answer(self, now_s: float, true: Profile, ask: ProbeLink | MeasureTier) -> None:
        if isinstance(ask, MeasureTier):
            seconds = self._compute_s(true, Stage(ask.tier, ask.start, ask.stop, ask.runtime))
            event: Event = TierMeasured(
                now_s + seconds, ask.tier, ask.start, ask.stop, seconds, ask.runtime
            )
            asked = {ask.tier}
        else:
            pair = (ask.source, ask.target)
            seconds = self._hop_s(true, pair, (ask.sent_bytes, 64))
            latency_s = self._hop_s(true, pair, (64, 64)) / 2
            at_s = now_s + seconds + 2 * latency_s
            event = LinkProbed(at_s, *pair, ask.sent_bytes, seconds, latency_s)
            asked = set(pair)
        if not any(self._is_away(tier, now_s) for tier in asked):
            self.put(event)

    def _is_away(self, tier: str, at_s: float) -> bool:
        return tier in self._lost or self._world.is_silent(tier, at_s)

    def _request(self, at_s: float, plan: Plan) -> None:
        true = self._world.at(at_s)
        away = [tier for tier in plan.route[1:] if self._is_away(tier, at_s)]
        failed_over = bool(away)
        timings = self._timings(true, _up_to(plan, away[0]) if away else plan)
        if away:
            timings = (*timings[:-1], replace(timings[-1], failed_over=f"{away[0]} silent"))
        latency_s = timings[0].own_s
        event = Observed(at_s + latency_s, timings)
        self.run.requests.append(SimulatedRequest(at_s, latency_s, plan, failed_over))
        self._free_s = at_s + latency_s + self._world.pause_s
        self.put(event)

    def _timings(self, true: Profile, plan: Plan) -> tuple[TierTiming, ...]:
        """One request's samples by the cost model with noise, built from the last stage back."""
        graph = self.run.state.graph
        timings: list[TierTiming] = []
        arriving = [(AS_IS, 0), *zip(plan.codecs, plan.cuts, strict=True)]
        for stage, came in zip(reversed(plan.stages), reversed(arriving), strict=True):
            compute_s, hop_s, sent, reply = self._compute_s(true, stage), 0.0, 0, graph.output_bytes
            codec_s = self._coding_s(true, stage, came)
            if timings:
                sent = round(sent_bytes(graph, true, stage.codec, stage.stop))
                there = timings[-1]
                hop_s = self._hop_s(true, (stage.tier, there.tier), (sent, reply)) + there.own_s
            own_s = compute_s + codec_s + hop_s
            timings.append(
                TierTiming(
                    stage.tier, stage.start, stage.stop, 0.0, compute_s, own_s, hop_s,
                    math.inf, sent, reply, 0.0, None, stage.runtime, codec_s=codec_s,
                )
            )  # fmt: skip
        return tuple(reversed(timings))

    def _compute_s(self, true: Profile, stage: Stage) -> float:
        tier = true.tier(stage.tier)
        bounds = slice(stage.start, stage.stop)
        layer_s = tier.layer_s_in(stage.runtime)[bounds] if len(stage) else ()
        return self._noisy(sum(layer_s) * tier.slowdown)

    def _coding_s(self, true: Profile, stage: Stage, came: tuple[str, int]) -> float:
        """Of reading what came, in that codec at that cut, and of writing what is sent on."""
        tier, raw = true.tier(stage.tier), np.asarray(self.run.state.graph.payload_bytes)
        read, write = tier.codec_speed(came[0]), tier.codec_speed(stage.codec)
        seconds = 0.0
        if read is not None:
            seconds += float(coding_s(read, true.codec(came[0]), raw)[1][came[1]])
        if write is not None:
            seconds += float(coding_s(write, true.codec(stage.codec), raw)[0][stage.stop])
        return self._noisy(seconds * tier.slowdown) if seconds else 0.0

    def _hop_s(self, true: Profile, pair: tuple[str, str], sizes: tuple[int, int]) -> float:
        """Seconds for sizes[0] bytes there and sizes[1] bytes back."""
        seconds = 0.0
        for size, (source, target) in zip(sizes, (pair, pair[::-1]), strict=True):
            link = true.link(source, target)
            assert link is not None, "step asks for links of the profile only"
            seconds += self._noisy(link.latency_s) + self._noisy(size / link.bytes_per_s)
        return seconds

    def _noisy(self, seconds: float) -> float:
        factor = math.exp(self._generator.normal(0.0, self._world.noise))
        if self._generator.random() < self._world.outliers:
            factor *= self._generator.uniform(2.0, 5.0)
        return seconds * factor


def _up_to(plan: Plan, tier: str) -> Plan:
    """The plan whose last tier before `tier` runs all the rest."""
    stages = plan.stages[: plan.route.index(tier)]
    return Plan((*stages[:-1], replace(stages[-1], stop=plan.n_layers)))
