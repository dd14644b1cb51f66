"""A request on one tier, from its arrival to what became of it. Plain values."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.core.row import TORCH
from edgesplit.core.sample import Sample
from edgesplit.node import wire
from edgesplit.node.inbound import Inbound


@dataclass(frozen=True)
class Job:
    """A request that has arrived here, its payload, and when (this machine's monotonic clock).

    sender: the connection to answer on; upstream: its tier, None for the caller.
    """

    request: wire.Request
    values: list[Any]
    sender: Inbound
    upstream: str | None
    arrived_s: float
    gap_s: float

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
    def deadline_s(self) -> float:
        """When the caller gives up, on this machine's clock."""
        return self.arrived_s + self.request.timeout_s


@dataclass(frozen=True)
class Done:
    """A job with the payload it produced, or with why it failed (reason, message).

    finished: why the layers behind its own were run here too; empty where they were not.
    """

    job: Job
    values: list[Any]
    queue_s: float = 0.0
    compute_s: float = 0.0
    energy_j: float = 0.0
    energy_u_j: float | None = 0.0
    failure: tuple[str, str] | None = None
    finished: str = ""


@dataclass(frozen=True)
class Rest:
    """What is left of a job whose next tier will not answer, from the payload that is here."""

    done: Done
    why: str

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


def sample_of(done: Done, hop_s: float, sizes: tuple[int, int]) -> Sample:
    """What the tier measured, now that the answer leaves. sizes: bytes sent on and of the reply."""
    job = done.job
    start, stop = job.layers
    is_relay = start == stop
    if done.finished:
        stop = job.request.route[-1].stop
    return Sample(
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
        energy_j=done.energy_j,
        energy_u_j=done.energy_u_j,
        runtime=TORCH if is_relay else job.hop.runtime,
        finished=done.finished,
    )


def n_bytes_of(buffers: Sequence[wire.Buffer]) -> int:
    """All of them together."""
    return sum([buffer.nbytes for buffer in buffers])
