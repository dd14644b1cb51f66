"""Keeps this tier in one phase for a while, so that its power there can be measured."""

import socket
import time
from collections.abc import Callable
from typing import Any, Literal

from edgesplit.node.tier.serve import SegmentServer
from edgesplit.node.transport import wire

Activity = Literal["compute", "transmit", "wait", "idle"]
_BULK_BYTES = 1 << 20
_PING_BYTES = 64
_PINGS = 3
_CALL_TIMEOUT_S = 120.0


def compute(
    server: SegmentServer, segment: Callable[[Any], Any], values: list[Any], seconds: float
) -> dict[str, float]:
    """Run a segment again and again on the compute thread; seconds per phase."""

    def run() -> float:
        began_s = time.perf_counter()
        while time.perf_counter() - began_s < seconds:
            segment(values)
        return time.perf_counter() - began_s

    return {"compute": server.worker.call(run).result(seconds + _CALL_TIMEOUT_S)}


def transmit(server: SegmentServer, target: wire.Hop, seconds: float) -> dict[str, float]:
    """Send bulk to another tier, which answers each time; seconds per phase of this side.

    The time of a small message there and back is waiting; the rest of a round trip is sending.
    """
    began_s = time.perf_counter()
    pings = [server.probe(target, _PING_BYTES, _CALL_TIMEOUT_S) for _ in range(_PINGS)]
    delay_s, sending_s = min(pings), 0.0
    while time.perf_counter() - began_s < seconds:
        sending_s += max(0.0, server.probe(target, _BULK_BYTES, _CALL_TIMEOUT_S) - delay_s)
    return {"transmit": sending_s, "wait": time.perf_counter() - began_s - sending_s}


def wait(seconds: float) -> dict[str, float]:
    """Block on a socket that says nothing, as a tier does whose reply is still to come."""
    return {"wait": _timed(lambda: _block(seconds))}


def idle(seconds: float) -> dict[str, float]:
    """Do nothing, with the model loaded."""
    return {"idle": _timed(lambda: time.sleep(seconds))}


def _block(seconds: float) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(seconds)
        try:
            ours.recv(1)
        except TimeoutError:
            return


def _timed(run: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    run()
    return time.perf_counter() - began_s
