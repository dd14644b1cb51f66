"""Under which conditions requests are replayed: links, arrivals, load, other devices, outages."""

import zlib
from dataclasses import dataclass, replace

import numpy as np

from edgesplit.core.profile import Profile
from experiments.head_to_head.served import Floats
from experiments.head_to_head.table import Table
from experiments.head_to_head.world import Outage, World, constant
from experiments.shared.trace import MBIT, Trace
from experiments.shared.trace_class import trace_named

FIRST_S = 1.0  # when the first request comes: the first plan is ready by then
BUSY = 0.5  # of its time that the entry tier would compute, had it all requests
_BURST, _CLOSE = 5.0, 0.1  # requests of a burst, and their distance in mean intervals
_PHASE_S = 30.0  # of load, or of another device's requests
SLOWED = 6.0  # times that a loaded tier takes: longer than the entry tier would
OTHERS_BUSY = 0.7  # of the shared tier's time, while the other device sends
SLOW_WAN = 2 * MBIT  # behind the edge, where the edge is to be worth its load
_STEADY = 30 * MBIT
_OUTAGES = ((0.4, 60.0), (0.7, 20.0))  # when, as a share of the run, and for how many seconds
STEADY_RATES = (1, 3, 10, 30, 100)  # Mbit/s
TRACES = ("subway", "bus", "drive", "satellite")
STEPS = "step"


@dataclass(frozen=True)
class Condition:
    """link: the rate of the entry tier's links in bytes/s, or the name or file of a trace.

    wan: of all other links in bytes/s; None: as the table has them. is_bursty: whether requests
    come in bursts. loaded, shared, lost: the edge is slowed by turns, has another device's requests
    too, or is away for a while.
    """

    name: str
    link: float | str
    wan: float | None = None
    is_bursty: bool = False
    loaded: bool = False
    shared: bool = False
    lost: bool = False

    @property
    def is_steady(self) -> bool:
        """Whether one request is as good as the next: nothing changes, none waits."""
        changes = (self.is_bursty, self.loaded, self.shared, self.lost)
        return not isinstance(self.link, str) and not any(changes)

    @property
    def is_trace(self) -> bool:
        """Whether the link follows a trace, steps not included."""
        return isinstance(self.link, str) and self.link != STEPS


def conditions(traces: tuple[str, ...] = TRACES) -> list[Condition]:
    """All of them, with those traces."""
    steady = [Condition(f"steady {rate} Mbit/s", rate * MBIT) for rate in STEADY_RATES]
    moving = [Condition(name, name) for name in traces]
    return [
        *steady,
        Condition("steps", STEPS),
        *moving,
        Condition("steady 10 Mbit/s, bursts", 10 * MBIT, is_bursty=True),
        Condition(f"{traces[0]}, bursts", traces[0], is_bursty=True),
        Condition("edge loaded", _STEADY, SLOW_WAN, loaded=True),
        Condition("edge shared", _STEADY, SLOW_WAN, shared=True),
        Condition("edge lost", _STEADY, lost=True),
    ]


@dataclass(frozen=True)
class Scene:
    """One table under one condition: what is true, and when requests come."""

    table: Table
    condition: Condition
    world: World
    at_s: Floats
    seed: int

    def generator(self, what: str) -> np.random.Generator:
        """Chance of its own for each purpose, the same for the same seed."""
        text = f"{self.table.name} {self.condition.name} {what}"
        return np.random.default_rng([self.seed, zlib.crc32(text.encode())])


def scene_of(table: Table, condition: Condition, requests: int, seed: int) -> Scene:
    """The table under that condition. Raises ConfigError for a trace that is none."""
    interval_s = table.entry_s / BUSY
    empty = Scene(table, condition, World(table.graph, table.profile, constant(1.0)), _NONE, seed)
    at_s = _arrivals(condition, requests, interval_s, empty.generator("arrivals"))
    length_s = float(at_s[-1]) + _PHASE_S
    trace = _trace(condition, int(length_s) + 1, seed)
    profile = _wired(table.profile, float(trace.sent_bytes(length_s)) / length_s, condition.wan)
    world = World(table.graph, profile, trace)
    edge = table.shared_tier
    if condition.loaded:
        world = replace(world, speeds={edge: _by_turns(length_s)})
    if condition.lost:
        away = ((share * length_s, seconds) for share, seconds in _OUTAGES)
        world = replace(world, outages=tuple(Outage(edge, a, a + s) for a, s in away))
    if condition.shared:
        works = _works(world, edge, length_s, empty.generator("others"))
        world = replace(world, others={edge: works})
    return replace(empty, world=world, at_s=at_s)


_NONE: Floats = np.zeros(0)


def _arrivals(
    condition: Condition, requests: int, interval_s: float, generator: np.random.Generator
) -> Floats:
    if not condition.is_bursty:
        return np.asarray(FIRST_S + interval_s * np.arange(requests), dtype=np.float64)
    within = generator.random(requests) < 1 - 1 / _BURST
    between = _BURST - (_BURST - 1) * _CLOSE  # so that as many come as without bursts
    gaps = generator.exponential(np.where(within, _CLOSE, between)) * interval_s
    return np.asarray(FIRST_S + np.cumsum(gaps) - gaps[0], dtype=np.float64)


def _trace(condition: Condition, seconds: int, seed: int) -> Trace:
    if isinstance(condition.link, str):
        return trace_named(condition.link, seconds, seed).lasting(seconds)
    return constant(condition.link)


def _wired(profile: Profile, rate: float, wan: float | None) -> Profile:
    """As it is calibrated: the mean rate of the trace on the entry tier's links."""
    links = tuple(
        replace(ln, bytes_per_s=rate)
        if profile.entry_tier in ln.pair
        else replace(ln, bytes_per_s=wan or ln.bytes_per_s)
        for ln in profile.links
    )
    return replace(profile, links=links)


def _by_turns(length_s: float) -> Trace:
    """As profiled for a phase, slowed for the next."""
    starts_s = np.arange(0.0, length_s, _PHASE_S)
    speeds = np.where(np.arange(len(starts_s)) % 2 == 1, 1 / SLOWED, 1.0)
    return Trace("load", tuple(starts_s.tolist()), tuple(speeds.tolist()), length_s + _PHASE_S)


def _works(
    world: World, tier: str, length_s: float, generator: np.random.Generator
) -> tuple[tuple[float, float], ...]:
    """Another device's requests, all of the same model on that tier: by turns none, and many."""
    seconds = world.prefix_s[tier][-1]
    found, at_s = [], 0.0
    while at_s < length_s:
        at_s += float(generator.exponential(seconds / OTHERS_BUSY))
        if int(at_s / _PHASE_S) % 2 == 1:
            found.append((at_s, seconds))
    return tuple(found)
