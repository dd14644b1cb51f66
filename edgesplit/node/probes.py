"""Probes under way: small questions to another tier that its reading thread answers at once."""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from edgesplit.node import wire


class Probes:
    """Of one asker; sending them is somebody else's business."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._ids = (f"{sender}-probe-{n}" for n in itertools.count())
        self._pending: dict[str, tuple[float, Future[float]]] = {}

    @contextmanager
    def probe(self) -> Iterator[tuple[wire.Probe, "Future[float]"]]:
        """A probe to send now, and the seconds until its echo as a future; forgotten afterwards."""
        message, future = wire.Probe(id=next(self._ids), sender=self._sender), Future[float]()
        self._pending[message.id] = (time.perf_counter(), future)
        try:
            yield message, future
        finally:
            self._pending.pop(message.id, None)

    def answered(self, message: wire.Message) -> None:
        """A frame has come; of interest are echoes of probes that are still pending."""
        if isinstance(message, wire.Echo) and message.id in self._pending:
            sent_s, future = self._pending.pop(message.id)
            future.set_result(time.perf_counter() - sent_s)
