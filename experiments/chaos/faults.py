"""Faults for the embedded cluster: what is killed, frozen, throttled or slowed, and its end."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil

from edgesplit import EdgeSplit, EdgeSplitError, Emulation, LinkShape

TIERS = ("end", "edge", "cloud")
LINKS = (("end", "edge"), ("edge", "cloud"))
FREEZES_S = (1.0, 5.0)
THROTTLED = LinkShape(1e4, 0.01)  # bytes per second: a payload of the model takes seconds
OPEN = LinkShape(40e6, 0.001)
SLOWER = 10.0
_TRIES = 31
_SCHEDULER = "ray::Scheduler"
_SEGMENT = "ray::SegmentActor"


@dataclass(frozen=True)
class Fault:
    """One fault; seconds: for how long, 0 for what does not end by itself, such as a kill."""

    kind: str
    target: str
    seconds: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:g} s" if self.seconds else ""
        return f"{self.kind} {self.target}{lasting}"


def faults() -> list[Fault]:
    """Every fault of the matrix."""
    return [
        *(Fault("kill", tier) for tier in TIERS),
        Fault("kill", "scheduler"),
        *(Fault("freeze", tier, seconds) for tier in TIERS for seconds in FREEZES_S),
        Fault("freeze", "scheduler", FREEZES_S[-1]),
        *(Fault("throttle", "-".join(link), 5.0) for link in LINKS),
        *(Fault("flap", "-".join(link), 6.0) for link in LINKS),
        *(Fault("slow", tier, 5.0) for tier in TIERS),
    ]


def drawn(rng: np.random.Generator, singles: list[Fault]) -> tuple[Fault, ...]:
    """The next single fault of the matrix, or, once all were there, one or two at random."""
    if singles:
        return (singles.pop(0),)
    count = 2 if rng.random() < 0.3 else 1
    known = faults()
    return tuple(known[int(k)] for k in rng.choice(len(known), count, replace=False))


class Scene:
    """An open session on the embedded cluster, with all links free, as faults find it."""

    def __init__(self, split: EdgeSplit) -> None:
        self._split = split
        self._free = Emulation(links=dict.fromkeys(_both_ways(LINKS), OPEN))

    def calm(self) -> None:
        """No tier slowed, no link throttled."""
        self._split.emulate(self._free)

    def inflict(self, fault: Fault) -> None:
        """Let it happen and, where it ends by itself, wait for its end."""
        match fault.kind:
            case "kill":
                process_of(self._split, fault.target).kill()
            case "freeze":
                self._freeze(process_of(self._split, fault.target), fault.seconds)
            case "throttle":
                self._emulated(self._free.with_link(*_pair(fault), THROTTLED), fault.seconds)
            case "flap":
                for _ in range(3):
                    shaped = self._free.with_link(*_pair(fault), THROTTLED)
                    self._emulated(shaped, fault.seconds / 6)
                    time.sleep(fault.seconds / 6)
            case "slow":
                slowed = self._free.with_slowdown(fault.target, SLOWER)
                self._emulated(slowed, fault.seconds)

    def _freeze(self, process: psutil.Process, seconds: float) -> None:
        process.suspend()
        try:
            time.sleep(seconds)
        finally:
            process.resume()

    def _emulated(self, emulation: Emulation, seconds: float) -> None:
        _patiently(lambda: self._split.emulate(emulation))
        time.sleep(seconds)
        _patiently(self.calm)


def process_of(split: EdgeSplit, name: str) -> psutil.Process:
    """The process of a tier's actor, or of the `scheduler`, on the embedded cluster.

    The scheduler's is the first that is found. Raises psutil.NoSuchProcess.
    """
    title = _SCHEDULER if name == "scheduler" else _SEGMENT
    mine = [p for p in psutil.Process().children(recursive=True) if _title(p).startswith(title)]
    if name == "scheduler" and mine:
        return mine[0]
    address = split.addresses.get(name, "")
    for process in mine:
        if _listens(process, int(address.rpartition(":")[2])):
            return process
    raise psutil.NoSuchProcess(-1, name, f"no process of {name} is there")


def _patiently(act: Callable[[], None]) -> None:
    """A tier that was killed a moment ago takes an emulation when it is back."""
    for left in reversed(range(_TRIES)):
        try:
            return act()
        except EdgeSplitError:
            if not left:
                raise
            time.sleep(1.0)


def _pair(fault: Fault) -> tuple[str, str]:
    source, _, target = fault.target.partition("-")
    return source, target


def _both_ways(links: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [pair for u, v in links for pair in ((u, v), (v, u))]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        return any(c.status == "LISTEN" and c.laddr.port == port for c in process.net_connections())
    except psutil.Error:
        return False
