"""Spoilt frames against a live tier that serves good requests meanwhile.

The tier runs in a process of its own. Most frames come from somebody who has the session's key,
the others are plain, of another key, recorded before, or break off within the handshake. Measured:
whether good requests are answered right, and the tier's memory, threads and descriptors.
"""

import multiprocessing
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection as Pipe
from typing import Any

import numpy as np
import psutil

from edgesplit.core.power import Power
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.tier.host import TierHost
from edgesplit.node.tier.job import Ran
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.client import Client
from edgesplit.node.transport.security import Credentials, new_credentials
from experiments.fuzz.attacker import Attacker, Found
from experiments.fuzz.doors import Target

LIMIT_BYTES = 1 << 20
MOST_GROWTH_BYTES = 32 << 20
_ANSWER_TIMEOUT_S = 20.0
_SETTLE_S = 6.0  # after the last frame: handshakes that broke off have ended then


class Additions:
    """A program whose layer k adds k."""

    def segment(self, start: int, stop: int, runtime: str = "torch") -> Any:
        """The layers as a function."""

        def run(values: list[Any]) -> list[Any]:
            with np.errstate(all="ignore"):  # flipped bits may be any number
                return [value + sum(range(start, stop)) for value in values]

        return run

    def ran(self, ran: Ran) -> None:
        """Nothing to compare with."""


def fuzz(frames: int, seed: int, advance: Any = lambda: None) -> tuple[Found, list[dict[str, Any]]]:
    """Send so many frames; what came of it, and rows of the tier's resources over time.

    The first row is from after a tenth of the frames, when every way has been taken, the last
    from after the tier had its peace again.
    """
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    credentials = new_credentials()
    process = spawn.Process(target=serve, args=(credentials, there), daemon=True)
    process.start()
    try:
        target = Target(here.recv(), here.recv(), credentials)
        return _attack(target, psutil.Process(process.pid), (frames, seed), advance)
    finally:
        process.kill()
        process.join()


def serve(credentials: Credentials, pipe: Pipe) -> None:
    """The process under test: the tier `end`, and `edge` behind it."""
    hosts = []
    for tier in ("end", "edge"):
        settings = ServeSettings(tier, max_frame_bytes=LIMIT_BYTES, credentials=credentials)
        host = TierHost(tier)
        server = host.begin(settings, PowerModelMeter(Power(1.0, 1.0, 1.0, 1.0)), arrays)
        server.worker.programs["p"] = Additions()
        hosts.append(host)
        pipe.send(host.open())
    threading.Event().wait()


def _attack(
    target: Target, tier: psutil.Process, load: tuple[int, int], advance: Any
) -> tuple[Found, list[dict[str, Any]]]:
    frames, seed = load
    found, done = Found(), threading.Event()
    good = threading.Thread(target=_send_good, args=(target, done, found), daemon=True)
    good.start()
    rows = []
    attacker = Attacker(target, seed, found)
    for number in range(frames):
        attacker.send_one()
        advance()
        if number + 1 >= frames // 10 and (number + 1) % max(1, frames // 100) == 0:
            rows.append({"frames": number + 1, **resources(tier)})
    attacker.close()
    time.sleep(_SETTLE_S)
    rows.append({"frames": frames, **resources(tier)})
    done.set()
    good.join(_ANSWER_TIMEOUT_S)
    found.wrong += left_over(rows)
    return found, rows


def left_over(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the tier has more of at rest, in the last row, than the frames before it account for.

    Memory against the first row. Threads and descriptors against the most of the first half: what
    serves good requests comes and goes by one or two, and the first row alone may have missed it.
    """
    *loaded, rest = rows
    growth = rest["rss_bytes"] - loaded[0]["rss_bytes"]
    wrong = []
    if growth > MOST_GROWTH_BYTES:
        wrong.append(f"the tier's memory has grown by {growth} bytes")
    for kind in ("threads", "fds"):
        most = max(row[kind] for row in loaded[: (len(loaded) + 1) // 2])
        if rest[kind] > most:
            wrong.append(f"{kind} are left: {rest[kind]} at rest, at most {most} in the first half")
    return wrong


def resources(tier: psutil.Process) -> dict[str, Any]:
    """What the tier's process uses now."""
    return {
        "rss_bytes": tier.memory_info().rss,
        "threads": tier.num_threads(),
        "fds": tier.num_fds(),
    }


def _send_good(target: Target, done: threading.Event, found: Found) -> None:
    """Requests over both tiers, each answer compared, until done."""
    client = Client(target.end, arrays, target.credentials)
    rng = np.random.default_rng(1)
    number = 0
    while not done.is_set():
        number += 1
        x = rng.random(int(rng.integers(1, 50_000)), np.float32)
        specs, buffers = arrays.pack([x])
        route = [wire.Hop("end", target.end, 0, 3), wire.Hop("edge", target.edge, 3, 9)]
        request = wire.Request(
            id=f"good-{number}", program="p", route=route, at=0, timeout_s=10.0, values=specs
        )
        begin_s = time.perf_counter()
        try:
            with client.channel() as channel:
                channel.send(request, buffers)
                (y,) = channel.receive(request.id, 10.0).values
            if not np.array_equal(y, x + np.float32(3) + np.float32(33)):
                found.wrong.append(f"good request {number}: another result")
        except Exception as error:  # top of the thread's loop: becomes a finding
            found.wrong.append(f"good request {number}: {error}")
        found.good_s.append(time.perf_counter() - begin_s)
    client.close()
