"""The seam between EdgeSplit and a source of joules: a sensor, a counter, or assumed watts."""

from dataclasses import dataclass
from typing import Protocol

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.source import SourceInfo
from edgesplit.errors import MeterError


class EnergySource(Protocol):
    """One source on this host. Its constructor only stores; open() finds the device.

    A failed read is a MeterError, never a 0. One thread at a time uses it.
    """

    @property
    def info(self) -> SourceInfo:
        """What it is; complete once open() has been called."""

    def open(self) -> None:
        """Find the device and read it once. Raises MeterError with the reason and what mends it."""

    def read(self) -> Reading:
        """What it says now, on the monotonic clock of time.perf_counter. Raises MeterError."""

    def close(self) -> None:
        """Let go of the device; safe to call twice."""


@dataclass(frozen=True)
class Found:
    """One source that was looked for on this host.

    source: None where it cannot be used, for the `reason`; `fix` is what would mend that, empty
    where nothing can (the hardware is not there).
    """

    id: str
    source: EnergySource | None
    reason: str = ""
    fix: str = ""


def tried(source: EnergySource) -> Found:
    """The source once it was opened, read once and closed; or why it cannot be used."""
    try:
        source.open()
        source.read()
    except MeterError as error:
        return Found(source.info.id, None, error.reason, error.fix)
    finally:
        source.close()
    return Found(source.info.id, source)
