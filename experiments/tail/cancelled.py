"""Three tiers in processes of their own, of which one loses against a hedge again and again.

Ranges are held in the loser's process until it has been cancelled. perf_counter is one clock for
all processes of a Linux machine.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Event
from typing import Any

import numpy as np

from edgesplit.core.power import Power
from edgesplit.errors import EdgeSplitError
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.tier.host import TierHost
from edgesplit.node.tier.job import Ran
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.client import Client
from edgesplit.node.transport.security import Credentials, new_credentials

# By what is reported: the tier that loses, and whether the request is queued there behind another.
CASES = {
    "edge, queued": ("edge", True),
    "edge, computing": ("edge", False),
    "cloud, by way of edge, queued": ("cloud", True),
    "cloud, by way of edge, computing": ("cloud", False),
}
_TIERS = ("end", "edge", "cloud")
_STOPS = {"end": 3, "edge": 6, "cloud": 9}
_X = np.zeros(1000, np.float32)
_LOOK_S = 1e-4
_LONG_S = 20.0
SOON = wire.Hedge(rest_s=0.01, answer_s=0.01, price_s=0.0, sending=1.0, limit_s=0.0)


class Held:
    """A program whose layer k adds k; what the tier runs of it can be held up.

    begun: ranges so far. ended_s: perf_counter's at the end of the last one.
    """

    def __init__(self, goes_on: Event) -> None:
        self._goes_on = goes_on
        self.begun, self.ended_s = 0, 0.0

    def segment(self, start: int, stop: int, runtime: str = "torch") -> Any:
        """The layers as a function."""

        def run(values: list[Any]) -> list[Any]:
            self.begun += 1
            self._goes_on.wait(_LONG_S)
            made = [value + np.float32(sum(range(start, stop))) for value in values]
            self.ended_s = time.perf_counter()
            return made

        return run

    def ran(self, ran: Ran) -> None:
        """Nothing to compare with."""


def serve(tier: str, credentials: Credentials, pipe: Pipe, goes_on: Event) -> None:
    """A tier's process: says its address, then answers what it is asked, until it is ended."""
    program = Held(goes_on)
    settings = ServeSettings(tier, credentials=credentials, hedge=1.0)
    with TierHost(tier) as host:
        server = host.begin(settings, PowerModelMeter(Power(1.0, 1.0, 1.0, 1.0)), arrays)
        server.worker.programs["p"] = program
        pipe.send(host.address)
        while True:
            match pipe.recv():
                case ("jobs", count):
                    pipe.send(_seen_s(lambda: server.n_jobs == count))
                case ("begun", count):
                    pipe.send(_seen_s(lambda: program.begun >= count) and program.begun)
                case ("ended",):
                    pipe.send(program.ended_s)


def _seen_s(is_so: Callable[[], bool]) -> float:
    """perf_counter's when that was first seen to be so; 0: not for long."""
    limit_s = time.perf_counter() + _LONG_S
    while not is_so():
        if time.perf_counter() > limit_s:
            return 0.0
        time.sleep(_LOOK_S)
    return time.perf_counter()


@dataclass(frozen=True)
class TierProcess:
    """One of them. goes_on: set where its ranges are not held."""

    address: str
    pipe: Pipe
    goes_on: Event

    def asked(self, *question: Any) -> Any:
        """What it answers."""
        self.pipe.send(question)
        return self.answer()

    def answer(self) -> Any:
        """What it answers to the question before. Raises EdgeSplitError where that never came."""
        answer = self.pipe.recv()
        if not answer:
            raise EdgeSplitError("a tier has waited in vain")
        return answer


def cancelled_s(requests: int, advance: Callable[[], None]) -> dict[str, list[float]]:
    """By case, for each request the seconds from the winner's answer until the loser let go.

    Raises EdgeSplitError where an answer was wrong, or a loser began anything more.
    """
    with _processes() as (tiers, credentials):
        client = Client(tiers["end"].address, arrays, credentials)
        try:
            found: dict[str, list[float]] = {name: [] for name in CASES}
            for number in range(requests):
                for name, case in CASES.items():
                    found[name].append(_one(tiers, client, *case, f"{name} {number}"))
                    advance()
            return found
        finally:
            client.close()


@contextmanager
def _processes() -> Iterator[tuple[dict[str, TierProcess], Credentials]]:
    spawn, credentials = multiprocessing.get_context("spawn"), new_credentials()
    tiers, processes = dict[str, TierProcess](), []
    try:
        for tier in _TIERS:
            here, there = spawn.Pipe()
            goes_on = spawn.Event()
            args = (tier, credentials, there, goes_on)
            processes.append(spawn.Process(target=serve, args=args, daemon=True))
            processes[-1].start()
            tiers[tier] = TierProcess(here.recv(), here, goes_on)
        yield tiers, credentials
    finally:
        for process in processes:
            process.kill()
            process.join()


def _one(
    tiers: dict[str, TierProcess], client: Client, loser: str, is_queued: bool, name: str
) -> float:
    """Have `end` win against that tier."""
    for tier in tiers.values():
        tier.goes_on.set()
    losing = tiers[loser]
    losing.goes_on.clear()
    with client.channel() as first, client.channel() as second:
        if is_queued:  # behind one that nobody hedges
            first.send(*_request(tiers, loser, f"{name} before", None))
            losing.asked("jobs", 1)
        request, buffers = _request(tiers, loser, name, SOON)
        second.send(request, buffers)
        losing.asked("jobs", 1 + is_queued)
        losing.pipe.send(("jobs", int(is_queued)))
        outcome = second.receive(request.id, _LONG_S)
        let_go_s = losing.answer()
        won_s = tiers["end"].asked("ended")
        begun = losing.asked("begun", 1)
        losing.goes_on.set()
        if is_queued:
            first.receive(f"{name} before", _LONG_S)
    if outcome.timings[0].hedged != "won" or not np.array_equal(outcome.values[0], _X + 36):
        raise EdgeSplitError(f"{name}: not the answer of a hedge: {outcome}")
    losing.asked("jobs", 0)
    if losing.asked("begun", 1) != begun:
        raise EdgeSplitError(f"{name}: {loser} has begun it after it was cancelled")
    return float(let_go_s - won_s)


def _request(
    tiers: dict[str, TierProcess], last: str, name: str, hedge: wire.Hedge | None
) -> tuple[wire.Request, list[wire.Buffer]]:
    """Along all tiers up to that one, which has the rest to run."""
    specs, buffers = arrays.pack([_X])
    names = _TIERS[: _TIERS.index(last) + 1]
    stops = [0, *(_STOPS[tier] for tier in names[:-1]), 9]
    route = [
        wire.Hop(
            tier,
            tiers[tier].address,
            stops[place],
            stops[place + 1],
            failover_after_s=_LONG_S,
            hedge=hedge if tier == "end" else None,
        )
        for place, tier in enumerate(names)
    ]
    request = wire.Request(id=name, program="p", route=route, at=0, timeout_s=_LONG_S, values=specs)
    return request, buffers
