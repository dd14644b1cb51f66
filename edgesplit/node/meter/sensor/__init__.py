"""The interface of sensors: a counter, a power reading, or assumed watts."""

from dataclasses import dataclass
from typing import Protocol

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.errors import MeterError


class EnergySensor(Protocol):
    """One sensor on this host. Its constructor only stores; open() finds the device.

    A failed read is a MeterError, never a 0. One thread at a time uses it.
    """

    @property
    def info(self) -> SensorInfo:
        """What it is; complete once open() has been called."""

    def open(self) -> None:
        """Find the device and read it once. Raises MeterError with the reason and what mends it."""

    def read(self) -> Reading:
        """What it says now, on the monotonic clock of time.perf_counter. Raises MeterError."""

    def close(self) -> None:
        """Let go of the device; safe to call twice."""


@dataclass(frozen=True)
class Found:
    """One sensor that was looked for on this host.

    sensor: None where it cannot be used, for the `reason`; `fix` is what would mend that, empty
    where nothing can (the hardware is not there).
    """

    id: str
    sensor: EnergySensor | None
    reason: str = ""
    fix: str = ""


def tried(sensor: EnergySensor) -> Found:
    """The sensor once it was opened, read once and closed; or why it cannot be used."""
    try:
        sensor.open()
        sensor.read()
    except MeterError as error:
        return Found(sensor.info.id, None, error.reason, error.fix)
    finally:
        sensor.close()
    return Found(sensor.info.id, sensor)
