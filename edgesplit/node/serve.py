"""One tier as a server: its socket loop, its worker, and how other threads reach them."""

import threading
from concurrent.futures import Future
from typing import Any

import zmq

from edgesplit.node import wire
from edgesplit.node.emulate import TierEmulation
from edgesplit.node.meter import Meter
from edgesplit.node.sockets import ServeSettings, SocketLoop
from edgesplit.node.worker import Done, Worker


class SegmentServer:
    """A tier that listens once open() or `with` has begun it.

    close() ends both threads and frees the port.
    """

    def __init__(self, settings: ServeSettings, meter: Meter) -> None:
        self.settings = settings
        self.worker = Worker(settings.threads, settings.max_queue, meter, self._finished)
        self._context: zmq.Context[Any] | None = None

    def open(self) -> str:
        """Listen and serve; returns the address other tiers connect to."""
        self._context = zmq.Context()
        self._loop = SocketLoop(self.settings, self._context)
        self._loop.worker = self.worker
        self._thread = threading.Thread(
            target=self._loop.run, name="edgesplit-sockets", daemon=True
        )
        self._thread.start()
        self.worker.start()
        return self._loop.address

    def __enter__(self) -> "SegmentServer":
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where this tier listens."""
        return self._loop.address

    def emulate(self, emulation: TierEmulation) -> None:
        """Slow this tier and shape its links from now on."""
        self.worker.emulation = emulation
        self._loop.call(lambda: setattr(self._loop, "emulation", emulation))

    def probe(self, target: wire.Hop, n_bytes: int, timeout_s: float) -> float:
        """Round trip in seconds of `n_bytes` there and a few back. Raises TimeoutError."""
        future: Future[float] = Future()
        self._loop.call(lambda: self._loop.probe(target, n_bytes, future))
        return future.result(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """End both threads; safe to call twice."""
        if self._context is None:
            return
        self.worker.stop(timeout_s)
        self._loop.call(self._loop.stop)
        self._thread.join(timeout_s)
        self._context.destroy(linger=0)
        self._context = None

    def _finished(self, done: Done) -> None:
        self._loop.call(lambda: self._loop.on_done(done))
