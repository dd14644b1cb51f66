"""What can happen to a tier: a server in a process of its own, a link that breaks, held answers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

_HERE = Path(__file__).parent
_SERVE = """
import sys, time
from tiers import Additions, ServedHost
from edgesplit.core.power import Power
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.tier.router import ServeSettings

name, seconds, port = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
meter = PowerModelMeter(Power(10.0, 5.0, 5.0, 1.0))
with ServedHost(ServeSettings(name), meter, ports=(port,)) as server:
    server.worker.programs["p"] = Additions(seconds)
    print(server.address, flush=True)
    sys.stdin.read()
"""


def freeze(pid):
    """Stop a process, and return once each of its threads has stopped: a moment later for some."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    until_s = time.monotonic() + 10
    while not all(_is_stopped(thread) for thread in threads.iterdir()):
        assert time.monotonic() < until_s, f"process {pid} does not stop"
        time.sleep(0.001)


def _is_stopped(thread):
    with contextlib.suppress(FileNotFoundError):  # it has ended
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    return True


class RemoteTier:
    """A tier in its own process, to be frozen, woken and killed."""

    def __init__(self, name, seconds_per_layer=0.0, port=0):
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, name, str(seconds_per_layer), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{_HERE}:{_HERE.parents[1]}"},
        )
        self.address = self._process.stdout.readline().strip()
        assert self.address, "the server did not start"

    def freeze(self):
        freeze(self._process.pid)

    def wake(self):
        self._process.send_signal(signal.SIGCONT)

    def kill(self):
        self._process.kill()
        self._process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()
        self._process.stdin.close()
        self._process.stdout.close()


class BreakingLink:
    """Forwards so many bytes of the first connection to a server, then cuts it for good."""

    def __init__(self, address, n_bytes):
        host, _, port = address.rpartition(":")
        self._to, self._left = (host, int(port)), n_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        with contextlib.suppress(OSError):
            accepted, _ = self._listener.accept()
            self._listener.close()
            with accepted, socket.create_connection(self._to) as onward:
                while self._left > 0 and (data := accepted.recv(min(self._left, 65536))):
                    onward.sendall(data)
                    self._left -= len(data)

    def __enter__(self):
        self._thread.start()
        host, port = self._listener.getsockname()
        self.address = f"{host}:{port}"
        return self

    def __exit__(self, *exc):
        self._listener.close()
        self._thread.join(10)


class Held:
    """Layers that add as Additions do, but not before they may."""

    def __init__(self):
        self.begun, self.go_on = threading.Semaphore(0), threading.Event()

    def segment(self, start, stop, runtime="torch"):
        def run(values):
            self.begun.release()
            assert self.go_on.wait(30)
            return [value + sum(range(start, stop)) for value in values]

        return run


def until(condition, limit_s=10.0):
    """Wait for it."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "it has not come true in time"
        time.sleep(0.01)
