"""A TCP proxy that keeps what passes, and may change it."""

import socket
import threading
from contextlib import contextmanager


class Wiretap:
    """Listens before `target`. sent, answered: the bytes of each way, a buffer per connection.

    change(data): what is passed on towards the target instead of data.
    """

    def __init__(self, target, change=bytes):
        self.sent, self.answered = [], []
        self._target, self._change = target, change
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = []
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in (self._listener, *self._sockets):
            one.close()

    def _listen(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            host, port = self._target.split(":")
            far = socket.create_connection((host, int(port)))
            self._sockets += [near, far]
            self.sent.append(bytearray())
            self.answered.append(bytearray())
            ways = ((near, far, self.sent[-1], self._change), (far, near, self.answered[-1], bytes))
            for way in ways:
                threading.Thread(target=_pass_on, args=way, daemon=True).start()


def _pass_on(source, sink, kept, change):
    try:
        while data := source.recv(1 << 16):
            kept += data
            sink.sendall(change(data))
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def wiretap(target, change=bytes):
    tap = Wiretap(target, change)
    try:
        yield tap
    finally:
        tap.close()
