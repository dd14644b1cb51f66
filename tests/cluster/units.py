"""Ray nodes as plain processes that are started again whenever they end, as the systemd unit does.

Each is `ray start --block` in a process group of its own, with the words of the unit that one
machine can bear: ports are free ones, for all nodes share it.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil

RAY = str(Path(sys.executable).with_name("ray"))
RESTART_S = 3.0  # the unit's RestartSec
LIMIT_S = 180.0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Unit:
    """One node. settings: of Ray, as environment variables. stop() ends it for good."""

    def __init__(self, folder, port, tier, is_head=False, settings=None):
        role = ["--head", f"--port={port}"] if is_head else [f"--address=127.0.0.1:{port}"]
        self._command = [
            RAY, "start", *role, "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1",
            f"--labels=tier={tier}", "--object-store-memory=104857600", "--disable-usage-stats",
            "--include-log-monitor=false", f"--dashboard-agent-listen-port={free_port()}",
            "--min-worker-port=0", "--max-worker-port=0",
        ]  # fmt: skip
        if is_head:
            self._command += [f"--temp-dir={folder}", "--include-dashboard=false"]
        # Where `ray start --head` would find that a cluster of this address still has nodes here.
        self._notes = Path(folder, "ray_current_cluster")
        self._environ = {**os.environ, "RAY_TMPDIR": folder, **(settings or {})}
        self._log = Path(folder, f"unit-{tier}.log")
        self._main = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def kill(self):
        """SIGKILL to all of its processes, as systemd ends a unit's; it is started again."""
        with contextlib.suppress(psutil.NoSuchProcess, AttributeError):
            # Ray's processes are sessions of their own.
            for process in [*self._main.children(recursive=True), self._main]:
                process.kill()

    def stop(self):
        self._stopped.set()
        self.kill()
        self._thread.join(LIMIT_S)

    def said(self):
        return self._log.read_text(errors="replace")

    def _run(self):
        while not self._stopped.is_set():
            self._notes.unlink(missing_ok=True)
            with self._log.open("ab") as log:
                self._main = psutil.Popen(
                    self._command,
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            self._main.wait()
            self._stopped.wait(RESTART_S)
