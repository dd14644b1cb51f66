"""A request on one tier, from its arrival to what became of it, and the connection it came on."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgesplit.core.layer_times import TORCH
from edgesplit.core.payload_codec import AS_IS
from edgesplit.core.tier_timing import TierTiming
from edgesplit.node.runtime.table import without_torch
from edgesplit.node.transport import wire
from edgesplit.node.transport.connection import Connection

if TYPE_CHECKING:
    from edgesplit.node.tier.hedge_run import HedgeRun


class UpstreamConnection:
    """One that somebody made to this tier.

    is_gone: whoever asked has closed it, so that nothing is to be computed for them any more.
    is_tiers: another tier has made it, which keeps it whether or not anybody needs it.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.is_gone = self.is_tiers = False
        self._made_s, self._arrived_s = time.perf_counter(), float("-inf")
        self._lock = threading.Lock()

    @property
    def idle_since_s(self) -> float:
        """When its last payload came, or when it was made."""
        return max(self._made_s, self._arrived_s)

    def arrival(self) -> tuple[float, float]:
        """(now, seconds since the payload before)."""
        with self._lock:
            now_s = time.perf_counter()
            gap_s, self._arrived_s = now_s - self._arrived_s, now_s
            return now_s, gap_s


@dataclass(eq=False)
class Job:
    """A request that has arrived here, its payload, and when (this machine's monotonic clock).

    body_bytes: held for it, of the frame that it came in and of what is decoded from that. sender:
    the connection to answer on; upstream: its tier, None for the caller. is_cancelled: by the
    sender, who waits for no answer any more. decode_s: that its payload took to decode, once it is.
    is_stuck_here: this tier has found out that it cannot run the rest in the next one's place.
    """

    request: wire.Request
    values: list[Any]
    body_bytes: int
    sender: UpstreamConnection
    upstream: str | None
    arrived_s: float
    gap_s: float
    is_cancelled: bool = False
    decode_s: float = 0.0
    is_stuck_here: bool = False

    @property
    def is_pointless(self) -> bool:
        """Whether nobody waits for its answer any more."""
        return self.is_cancelled or self.sender.is_gone

    @property
    def hop(self) -> wire.Hop:
        """The stage of the plan that runs here."""
        return self.request.route[self.request.at]

    @property
    def layers(self) -> tuple[int, int]:
        """[start, stop) of that stage."""
        return self.hop.start, self.hop.stop

    @property
    def after(self) -> wire.Hop | None:
        """The next stage; None where this is the last."""
        route, at = self.request.route, self.request.at + 1
        return route[at] if at < len(route) else None

    @property
    def sent_codec(self) -> str:
        """What its payload is sent on in; an answer is as it is."""
        return self.hop.codec if self.request.at + 1 < len(self.request.route) else AS_IS

    @property
    def runtimes(self) -> tuple[str, ...]:
        """What to run it in: torch where the planned runtime cannot, which is right as well."""
        return tuple(dict.fromkeys((self.hop.runtime, TORCH)))

    @property
    def deadline_s(self) -> float:
        """When the caller gives up, on this machine's clock."""
        return self.arrived_s + self.request.timeout_s


@dataclass(frozen=True, eq=False)
class Ran:
    """Layers [start, stop) of a request as a runtime ran them: what it was given, what it made.

    requests: how many were in that run.
    """

    start: int
    stop: int
    runtime: str
    given: list[Any]
    made: list[Any]
    compute_s: float
    requests: int = 1


@dataclass(frozen=True)
class Done:
    """A job with the payload it produced, or with why it failed (reason, message).

    runtime: what its own layers were run in. failed_over: why the layers behind its own were run
    here too; empty where they were not. hedge: of which this is the end; hedge_j: its joules. sent:
    the payload in the hop's codec; None: it is sent on as it is. codec_s: of decoding and encoding.
    """

    job: Job
    values: list[Any]
    queue_s: float = 0.0
    compute_s: float = 0.0
    energy_j: float = 0.0
    energy_u_j: float | None = 0.0
    failure: tuple[str, str] | None = None
    runtime: str = TORCH
    failed_over: str = ""
    hedge: "HedgeRun | None" = None
    hedge_j: float = 0.0
    sent: list[Any] | None = None
    codec_s: float = 0.0


@dataclass(frozen=True)
class Remainder:
    """What is left of a job from the payload that is here: the next tier will not answer.

    hedge: or may not, in time.
    """

    done: Done
    why: str
    hedge: "HedgeRun | None" = None

    @property
    def job(self) -> Job:
        """The request it belongs to."""
        return self.done.job

    @property
    def values(self) -> list[Any]:
        """The payload behind the tier's own stage."""
        return self.done.values

    @property
    def layers(self) -> tuple[int, int]:
        """[start, stop): all behind the tier's own stage."""
        request = self.done.job.request
        return self.done.job.hop.stop, request.route[-1].stop

    @property
    def runtimes(self) -> tuple[str, ...]:
        """What to run it in: eager torch defines the right answer and needs no check.

        Where there is no torch, what the tier runs its own stage in.
        """
        return tuple(dict.fromkeys((TORCH, self.job.hop.runtime, *without_torch())))


def timing_of(done: Done, hop_s: float, sizes: tuple[int, int]) -> TierTiming:
    """What the tier measured, now that the answer leaves. sizes: bytes sent on and of the reply."""
    job = done.job
    start, stop = job.layers
    is_relay = start == stop
    if done.failed_over:
        stop = job.request.route[-1].stop
    return TierTiming(
        tier=job.hop.tier,
        start=start,
        stop=stop,
        queue_s=done.queue_s,
        compute_s=done.compute_s,
        own_s=time.perf_counter() - job.arrived_s,
        hop_s=hop_s,
        gap_s=job.gap_s,
        sent_bytes=sizes[0],
        reply_bytes=sizes[1],
        energy_j=max(done.energy_j, 0.0),  # in this order: NaN, not known, stays
        energy_u_j=done.energy_u_j,
        runtime=TORCH if is_relay else done.runtime,
        failed_over=done.failed_over,
        hedged="won" if done.hedge is not None else "",
        hedge_j=max(done.hedge_j, 0.0),
        codec_s=done.codec_s,
    )


def n_bytes_of(buffers: Sequence[wire.Buffer]) -> int:
    """All of them together."""
    return sum([buffer.nbytes for buffer in buffers])
