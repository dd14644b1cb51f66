"""A device that does not exist, as a source: a test says what it draws and when it fails."""

import threading
from dataclasses import dataclass, field

from sysfs_trees import Clock

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.errors import MeterError


def info(id="pretended", kind="counter", scope="cpu package", update_s=1e-3, averaging_s=0.0):
    return SensorInfo(id, scope, kind, update_s, averaging_s, 1e-6, 0.0, (), "made up")


@dataclass
class Pretended:
    """Draws `watts`; reads are counted; fails while `problem` is set."""

    clock: Clock
    info: SensorInfo = field(default_factory=info)
    watts: float = 10.0
    problem: str = ""
    joules: float = 0.0
    read_s: float = 0.0
    is_open: bool = False
    reads: int = 0
    was_read: threading.Event = field(default_factory=threading.Event)

    def open(self):
        self.is_open = True
        self.read_s = self.clock()

    def read(self):
        now_s = self.clock()
        self.was_read.set()
        self.reads += 1
        if self.problem:
            raise MeterError(self.problem, "plug it in")
        self.joules += self.watts * (now_s - self.read_s)
        self.read_s = now_s
        if self.info.kind == "counter":
            return Reading(now_s, joules=self.joules)
        return Reading(now_s, watts=self.watts)

    def close(self):
        self.is_open = False
