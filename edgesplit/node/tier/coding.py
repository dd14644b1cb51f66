"""Payloads out of their codecs before a segment and into one behind it, on the compute thread.

There, so that a tier's joules, shares and emulated slowdown hold for it as for computing. See
docs/decisions.md for what beside would gain.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any

from edgesplit.core.payload_codec import AS_IS
from edgesplit.node.codec.payload import decode, encode
from edgesplit.node.tier.emulate import TierEmulation
from edgesplit.node.tier.job import Job, Remainder
from edgesplit.node.transport.coded_tensor import CodedTensor

Closed = tuple[list[Any] | None, float]  # see closed()
_log = logging.getLogger(__name__)


def opened(task: Job | Remainder, emulation: TierEmulation) -> tuple[list[Any], float]:
    """Its payload without codecs, and the seconds that took. Raises WireError.

    A job holds that from then on, so that it is decoded once whatever becomes of it.
    """
    began_s = time.perf_counter()
    if not any(isinstance(value, CodedTensor) for value in task.values):
        return task.values, 0.0
    made = decode(task.values)
    seconds = _taken_s(began_s, emulation)
    if isinstance(task, Job):
        task.values, task.decode_s = made, seconds
    return made, seconds


def closed(job: Job, values: Sequence[Any], emulation: TierEmulation) -> Closed:
    """What its stage has made as it is sent on, and the seconds of decoding and encoding together.

    None for what travels as it is, also where encoding fails.
    """
    if job.sent_codec == AS_IS:
        return None, job.decode_s
    began_s, made = time.perf_counter(), None
    try:
        made = encode(values, job.sent_codec)
    except Exception as error:  # a library's, or no memory: right without a codec too
        _log.warning("a payload travels as it is, not in %s: %r", job.sent_codec, error)
    return made, job.decode_s + _taken_s(began_s, emulation)


class JointCoding:
    """The same of requests that share a run; nothing where none of them has to do with a codec."""

    def __init__(self, jobs: Sequence[Job], emulation: TierEmulation) -> None:
        self._jobs, self._emulation = jobs, emulation
        self._is_needed = any(
            job.hop.codec != AS_IS or any(isinstance(value, CodedTensor) for value in job.values)
            for job in jobs
        )

    def open(self) -> None:
        """Decode what came. Raises WireError."""
        if self._is_needed:
            for job in self._jobs:
                opened(job, self._emulation)

    def close(self, made: Sequence[list[Any]]) -> list[Closed]:
        """What the run has made of each, as closed() gives it."""
        if not self._is_needed:
            return [(None, 0.0)] * len(made)
        pairs = zip(self._jobs, made, strict=True)
        return [closed(job, values, self._emulation) for job, values in pairs]


def is_passed_on_untouched(job: Job) -> bool:
    """Whether a relay's payload is already written as it is to be sent on."""
    coded = {value.codec for value in job.values if isinstance(value, CodedTensor)}
    return coded == ({job.sent_codec} - {AS_IS})


def _taken_s(began_s: float, emulation: TierEmulation) -> float:
    """Seconds since then, the emulated slowdown included, which is waited for."""
    if emulation.slowdown > 1.0:
        time.sleep(emulation.extra_s(time.perf_counter() - began_s))
    return time.perf_counter() - began_s
