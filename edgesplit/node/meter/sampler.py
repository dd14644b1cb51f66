"""The background sampler: reads one sensor at a jittered period and keeps what it said.

Readings carry the monotonic clock's time. What sampling itself costs is measured and reported.
"""

import collections
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.core.energy.timeline import Timeline
from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor import EnergySensor

# Counters need reading only so that no wrap is missed; power has no memory, so it is read often.
COUNTER_PERIOD_S = 5.0
SHORTEST_PERIOD_S = 0.05
# Of the period, so that sampling cannot lock to the rhythm of the inferences. In simulation, with
# cycles near a multiple of the period, k=2 held 84-87 % of phase fits at 0.1 and 98 % at 0.5.
JITTER = 0.5
_EARLIER = 3  # readings before a window that are kept: a counter's lateness shows in its slope
_KEPT = 100_000  # readings: 80 minutes at the shortest period; longer windows are not covered
_STALE_PERIODS = 4
_HANGS_S = 30.0  # without a word of why: a busy machine may let the thread wait


@dataclass(frozen=True)
class Overhead:
    """What sampling cost: share of one core, seconds per reading (mean), readings, failed ones."""

    cpu_share: float
    read_s: float
    readings: int
    failed: int


class Sampler:
    """Reads a sensor that nothing else reads meanwhile. open() or `with` begins, close() ends."""

    def __init__(
        self,
        sensor: EnergySensor,
        period_s: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        chance: random.Random | None = None,
    ) -> None:
        self._source = sensor
        self._given_period_s = period_s
        self._clock = clock
        self._chance = chance or random.Random()
        self._readings: collections.deque[Reading] = collections.deque(maxlen=_KEPT)
        self._reading = threading.Lock()  # held while the sensor is read, which may take seconds
        self._lock = threading.Lock()  # held for moments: no question waits for a slow sensor
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._opened_s = self._spent_s = self._read_s = 0.0
        self._count = self._failed = 0
        self._problem: MeterError | None = None

    @property
    def info(self) -> SensorInfo:
        """The sensor's."""
        return self._source.info

    @property
    def period_s(self) -> float:
        """Seconds between two readings, on average."""
        if self._given_period_s is not None:
            return self._given_period_s
        if self.info.kind == "counter":
            return COUNTER_PERIOD_S
        return max(self.info.update_s, SHORTEST_PERIOD_S)

    def open(self) -> None:
        """Open the sensor and begin. Raises MeterError where it cannot be read."""
        self._source.open()
        self._opened_s = self._clock()
        try:
            self.read_now()
        except MeterError:
            self._source.close()
            raise
        self._thread = threading.Thread(target=self._loop, name="edgesplit-meter", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and let go of the sensor; safe to call twice."""
        self._ending.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=10.0)
            with self._reading:
                self._source.close()

    def __enter__(self) -> "Sampler":
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read_now(self) -> Reading:
        """Read outside of the period; the reading is kept too. Raises MeterError."""
        with self._reading:
            began_s, cpu_s = self._clock(), time.thread_time()
            try:
                reading = self._source.read()
            except MeterError as error:
                self._problem, self._failed = error, self._failed + 1
                raise
            with self._lock:
                self._readings.append(reading)
            self._problem, self._count = None, self._count + 1
            self._read_s += self._clock() - began_s
            self._spent_s += time.thread_time() - cpu_s
        return reading

    def timeline(self, since_s: float = -float("inf")) -> Timeline:
        """What was read, from a few readings before `since_s` on.

        Raises MeterError where the sensor has stopped answering.
        """
        with self._lock:
            readings, problem = self._since(since_s), self._problem
        silent_s = self._clock() - readings[-1].at_s
        grace_s = 0.0 if problem else _HANGS_S
        if silent_s > _STALE_PERIODS * self.period_s + grace_s:
            why, fix = (problem.reason, problem.fix) if problem else ("it hangs", "open it again")
            raise MeterError(f"{self.info.id} has not answered for {silent_s:.1f} s: {why}", fix)
        return Timeline(self.info, readings)

    def readings(self) -> tuple[Reading, ...]:
        """All that is kept, also of a sensor that has stopped answering."""
        with self._lock:
            return tuple(self._readings)

    def held(self, since_s: float) -> Timeline:
        """The same up to now: power is taken to be as last read, a counter is read now."""
        if self.info.kind == "counter":
            self.read_now()
            return self.timeline(since_s)
        known = self.timeline(since_s)
        return Timeline(
            self.info, (*known.readings, replace(known.readings[-1], at_s=self._clock()))
        )

    def wait_until(self, at_s: float) -> float:
        """Return once a reading from `at_s` or later is there; when it was. Raises MeterError."""
        while self._readings[-1].at_s < at_s:
            if self._ending.wait(self.period_s / 2):
                raise MeterError(f"{self.info.id} was closed meanwhile")
            self.timeline(at_s)  # says so where the sensor has stopped answering
        return self._readings[-1].at_s

    def overhead(self) -> Overhead:
        """What sampling has cost so far."""
        passed_s = max(1e-9, self._clock() - self._opened_s)
        return Overhead(
            self._spent_s / passed_s, self._read_s / max(1, self._count), self._count, self._failed
        )

    def _since(self, since_s: float) -> tuple[Reading, ...]:
        """Readings from a few before `since_s` on; from the newest back, as few are new."""
        newest_first: list[Reading] = []
        earlier = 0
        for reading in reversed(self._readings):
            newest_first.append(reading)
            earlier += reading.at_s <= since_s
            if earlier == _EARLIER:
                break
        return tuple(reversed(newest_first))

    def _loop(self) -> None:
        while not self._ending.wait(self.period_s * self._chance.uniform(1 - JITTER, 1 + JITTER)):
            try:
                self.read_now()
            except MeterError:
                continue  # kept as the problem, which a question for joules raises
            except Exception as error:  # the top of the thread's loop: a driver may raise anything
                self._problem = MeterError(f"{self.info.id} failed: {error!r}")
