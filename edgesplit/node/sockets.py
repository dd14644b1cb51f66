"""The socket loop of one tier: takes frames, hands them to the worker, passes results on.

One thread owns every socket. Requests come in on a ROUTER; each next tier is reached by a DEALER
on which its reply comes back. What cannot be served is refused to its sender and harms nobody else.
"""

import collections
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import zmq

from edgesplit.core.sample import Sample
from edgesplit.errors import WireError
from edgesplit.node import wire
from edgesplit.node.emulate import Shaper, TierEmulation
from edgesplit.node.worker import Done, Job, Worker

_PURGE_EVERY_S = 0.1
_PROBE_LIFE_S = 60.0


# Below this, copying a buffer into ZeroMQ is quicker than lending it and being told when it is free
# (600 KB there and a few bytes back: 0.40 against 0.55 ms, measured on loopback).
_LEND_FROM_BYTES = 1 << 20


def open_socket(context: "zmq.Context[Any]", kind: int) -> Any:
    """A socket that neither drops messages at a mark nor keeps any when it is closed.

    What may be under way is bounded elsewhere: by queues here, by in_flight at the caller.
    """
    socket = context.socket(kind, copy_threshold=_LEND_FROM_BYTES)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    return socket


@dataclass(frozen=True)
class ServeSettings:
    """Where a tier listens and what it bears. threads: torch's intra-op threads."""

    tier: str
    host: str = "127.0.0.1"
    threads: int = 1
    max_queue: int = 64
    max_frame_bytes: int = wire.DEFAULT_MAX_FRAME_BYTES


@dataclass(frozen=True)
class _Sent:
    """A request passed on to the next tier, waiting for its reply."""

    done: Done
    sent_s: float
    sent_bytes: int


class SocketLoop:
    """All sockets of one tier and what is under way on them. Lives on one thread."""

    def __init__(self, settings: ServeSettings, context: "zmq.Context[Any]") -> None:
        self._settings = settings
        self._context = context
        self.emulation = TierEmulation()
        self.worker: Worker
        self._shaper = Shaper()
        self._inbox = open_socket(context, zmq.ROUTER)
        # Frames up to the limit are judged here and refused politely; beyond twice the limit
        # ZeroMQ drops the sender's connection before it allocates anything.
        self._inbox.setsockopt(zmq.MAXMSGSIZE, 2 * settings.max_frame_bytes)
        port = self._inbox.bind_to_random_port(f"tcp://{settings.host}")
        self.address = f"tcp://{settings.host}:{port}"
        # An eventfd wakes the loop in a tenth of the time that a socket takes.
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        self._links: dict[str, Any] = {}
        self._sent: dict[str, _Sent] = {}
        self._probes: dict[str, tuple[float, Future[float]]] = {}
        self._arrivals: dict[bytes, float] = {}
        self._poller = zmq.Poller()
        self._poller.register(self._inbox, zmq.POLLIN)
        self._poller.register(self._wake, zmq.POLLIN)
        self._purged_s = 0.0
        self._running = True

    def call(self, function: Callable[[], None]) -> None:
        """Have `function` run on the loop's thread, soon. The only method for other threads."""
        self._calls.append(function)
        os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """End the loop after this round. Only by way of call()."""
        self._running = False

    def run(self) -> None:
        """Serve until stop()."""
        while self._running:
            for socket, _ in self._poller.poll(self._poll_ms()):
                # One message a round: whatever is left makes the next poll return at once.
                if socket is self._inbox:
                    self._on_inbox(socket.recv_multipart(copy=False))
                elif socket == self._wake:
                    os.eventfd_read(self._wake)
                else:
                    self._on_answer(socket.recv_multipart(copy=False))
            while self._calls:
                self._calls.popleft()()
            self._release()
            self._purge()
        os.close(self._wake)
        for socket in (self._inbox, *self._links.values()):
            socket.close(linger=0)

    def _poll_ms(self) -> int:
        """Rounded down: the last fraction of a millisecond before a due frame is slept."""
        wait_s = min(_PURGE_EVERY_S, self._shaper.next_due_s() - time.perf_counter())
        return max(0, int(wait_s * 1000))

    def _release(self) -> None:
        rest_s = self._shaper.next_due_s() - time.perf_counter()
        if 0 < rest_s < 0.001:
            time.sleep(rest_s)
        for socket, frames in self._shaper.release(time.perf_counter()):
            socket.send_multipart(frames, copy=False)

    def _purge(self) -> None:
        """Give up on requests whose time limit has passed."""
        now_s = time.perf_counter()
        if now_s - self._purged_s < _PURGE_EVERY_S:
            return
        self._purged_s = now_s
        self._probes = {
            key: probe for key, probe in self._probes.items() if now_s - probe[0] < _PROBE_LIFE_S
        }
        late = [sent for sent in self._sent.values() if now_s > sent.done.job.deadline_s]
        for sent in late:
            job = sent.done.job
            del self._sent[job.request.id]
            after = job.request.route[job.request.at + 1].tier
            self._refuse(
                job, "timeout", f"no answer from {after} within {job.request.timeout_s:g} s"
            )

    # Requests

    def _on_inbox(self, frames: list[Any]) -> None:
        now_s = time.perf_counter()
        sender, *rest = frames
        identity = sender.bytes
        message: wire.Message | None = None
        try:
            if not rest:
                raise WireError("empty message: expected a header frame")
            message = wire.decode(rest[0].buffer)
            if isinstance(message, wire.Request):
                self._on_request(message, rest[1:], identity, now_s)
            elif isinstance(message, wire.Probe):
                self._on_probe(message, rest[1:], identity)
            else:
                raise WireError(f"a {type(message).__name__} is not expected here")
        except WireError as error:
            refused = message.id if message is not None else ""
            self._send_refusal((identity, None), refused, "malformed", str(error))

    def _on_request(
        self, request: wire.Request, buffers: list[Any], identity: bytes, now_s: float
    ) -> None:
        if request.at >= len(request.route):
            raise WireError(f"request is at stage {request.at} of {len(request.route)}")
        hop = request.route[request.at]
        if hop.tier != self._settings.tier or hop.stop < hop.start:
            raise WireError(f"stage {hop} is not for tier {self._settings.tier!r}")
        wire.check_buffers(
            request.values, [len(b) for b in buffers], self._settings.max_frame_bytes
        )
        gap_s = now_s - self._arrivals.get(identity, float("-inf"))
        self._arrivals[identity] = now_s
        upstream = request.route[request.at - 1].tier if request.at else None
        job = Job(request, [b.buffer for b in buffers], identity, upstream, now_s, gap_s)
        if (
            hop.start == hop.stop
        ):  # a relay: nothing to compute, the frames pass through as they are
            self.on_done(Done(job, request.values, buffers))
        elif not self.worker.submit(job):
            self._refuse(job, "busy", f"{self._settings.max_queue} requests are queued already")

    def _on_probe(self, probe: wire.Probe, buffers: list[Any], identity: bytes) -> None:
        if sum(len(b) for b in buffers) > self._settings.max_frame_bytes:
            raise WireError(f"probe is over the limit of {self._settings.max_frame_bytes} bytes")
        self._send(self._inbox, probe.sender, [identity, wire.encode(wire.Echo(id=probe.id))])

    def on_done(self, done: Done) -> None:
        """Pass a finished job on: to the next tier of its route, or back to its sender."""
        job = done.job
        if done.failure is not None:
            self._refuse(job, *done.failure)
        elif job.request.at + 1 == len(job.request.route):
            self._reply(
                job,
                wire.Reply(
                    id=job.request.id,
                    values=done.values,
                    samples=[self._sample(done, hop_s=0.0, n_bytes=(0, _size(done.buffers)))],
                ),
                done.buffers,
            )
        else:
            self._pass_on(done)

    def _pass_on(self, done: Done) -> None:
        job, now_s = done.job, time.perf_counter()
        left_s = job.deadline_s - now_s
        if left_s <= 0:
            self._refuse(job, "timeout", "the time limit passed while computing")
            return
        request = wire.Request(
            id=job.request.id,
            program=job.request.program,
            route=job.request.route,
            at=job.request.at + 1,
            timeout_s=left_s,
            values=done.values,
        )
        after = request.route[request.at]
        frames = [wire.encode(request), *done.buffers]
        self._sent[request.id] = _Sent(done, now_s, _size(done.buffers))
        self._send(self._link(after.address), after.tier, frames)

    # Answers from the next tier

    def _on_answer(self, frames: list[Any]) -> None:
        now_s = time.perf_counter()
        try:
            message = wire.decode(frames[0].buffer)
        except WireError:
            return  # no sender to tell: whoever waits for it runs into its time limit
        if isinstance(message, wire.Echo) and message.id in self._probes:
            sent_s, future = self._probes.pop(message.id)
            future.set_result(now_s - sent_s)
        elif isinstance(message, wire.Refusal) and message.id in self._probes:
            self._probes.pop(message.id)[1].set_exception(WireError(message.message))
        elif isinstance(message, wire.Reply | wire.Refusal) and message.id in self._sent:
            sent = self._sent.pop(message.id)
            if isinstance(message, wire.Refusal):
                self._send(self._inbox, sent.done.job.upstream, [sent.done.job.sender, *frames])
            else:
                self._relay_reply(sent, message, frames[1:], now_s)

    def _relay_reply(
        self, sent: _Sent, reply: wire.Reply, buffers: list[Any], now_s: float
    ) -> None:
        n_bytes = (sent.sent_bytes, _size(buffers))
        sample = self._sample(sent.done, hop_s=now_s - sent.sent_s, n_bytes=n_bytes)
        passed = wire.Reply(id=reply.id, values=reply.values, samples=[sample, *reply.samples])
        self._reply(sent.done.job, passed, buffers)

    def _sample(self, done: Done, hop_s: float, n_bytes: tuple[int, int]) -> Sample:
        job = done.job
        return Sample(
            tier=job.hop.tier,
            start=job.hop.start,
            stop=job.hop.stop,
            queue_s=done.queue_s,
            compute_s=done.compute_s,
            own_s=time.perf_counter() - job.arrived_s,
            hop_s=hop_s,
            gap_s=job.gap_s,
            sent_bytes=n_bytes[0],
            reply_bytes=n_bytes[1],
            energy_j=done.energy_j,
        )

    # Sending

    def _reply(self, job: Job, reply: wire.Reply, buffers: list[Any]) -> None:
        self._send(self._inbox, job.upstream, [job.sender, wire.encode(reply), *buffers])

    def _refuse(self, job: Job, reason: str, message: str) -> None:
        self._send_refusal((job.sender, job.upstream), job.request.id, reason, message)

    def _send_refusal(
        self, to: tuple[bytes, str | None], request_id: str, reason: str, message: str
    ) -> None:
        refusal = wire.Refusal(
            id=request_id, tier=self._settings.tier, reason=reason, message=message
        )
        self._send(self._inbox, to[1], [to[0], wire.encode(refusal)])

    def _send(self, socket: Any, target: str | None, frames: list[Any]) -> None:
        shape = self.emulation.shapes.get(target) if target is not None else None
        if shape is None:
            socket.send_multipart(frames, copy=False)
        else:
            frame = (_size(frames), (socket, frames))
            self._shaper.hold(time.perf_counter(), target or "", shape, frame)

    def _link(self, address: str) -> Any:
        socket = self._links.get(address)
        if socket is None:
            socket = open_socket(self._context, zmq.DEALER)
            socket.connect(address)
            self._poller.register(socket, zmq.POLLIN)
            self._links[address] = socket
        return socket

    def probe(self, target: wire.Hop, n_bytes: int, future: "Future[float]") -> None:
        """Send ballast of `n_bytes` to the tier; the future gets the round trip in seconds."""
        probe_id = f"probe-{id(future)}"
        self._probes[probe_id] = (time.perf_counter(), future)
        frames = [wire.encode(wire.Probe(id=probe_id, sender=self._settings.tier)), bytes(n_bytes)]
        self._send(self._link(target.address), target.tier, frames)


def _size(frames: list[Any]) -> int:
    return sum(len(f) if isinstance(f, (bytes, zmq.Frame)) else f.nbytes for f in frames)
