"""A machine that does not exist, as its RAPL counter: watts that follow what a process does.

A thread adds joules to the file: IDLE_W always, BUSY_W more while the process keeps a core busy.
"""

import threading
import time
from pathlib import Path

import psutil

IDLE_W, BUSY_W = 5.0, 20.0
_STEP_S = 0.005


class RaplDevice:
    """The folder that stands for /sys; `follow` begins to count."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._zone = root / "class/powercap/intel-rapl:0"
        self._zone.mkdir(parents=True)
        (self._zone / "name").write_text("package-0\n")
        (self._zone / "max_energy_range_uj").write_text("262143328850\n")
        self._joules = 1.0
        self._write()
        self._ending = threading.Event()
        self._thread = None

    def follow(self, pid: int) -> None:
        """Count the energy of a machine that runs this process, instead of one of before."""
        self.close()
        self._ending.clear()
        self._thread = threading.Thread(target=self._run, args=(psutil.Process(pid),))
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join(10)

    def _run(self, process: psutil.Process) -> None:
        before_s, busy_s = time.perf_counter(), self._cpu_s(process)
        while not self._ending.wait(_STEP_S):
            now_s, now_busy_s = time.perf_counter(), self._cpu_s(process)
            self._joules += IDLE_W * (now_s - before_s) + BUSY_W * (now_busy_s - busy_s)
            before_s, busy_s = now_s, now_busy_s
            self._write()

    def _cpu_s(self, process: psutil.Process) -> float:
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            self._ending.set()
            return 0.0
        return used.user + used.system

    def _write(self) -> None:
        """In place of the old file at once, so that no reader finds it empty."""
        beside = self._zone / ".energy_uj"
        beside.write_text(f"{int(self._joules * 1e6)}\n")
        beside.replace(self._zone / "energy_uj")
