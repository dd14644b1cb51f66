"""Meters that several sessions of a host use: each sensor is read once for all of them."""

import threading

from edgesplit.core.power import Power
from edgesplit.node.meter import Meter
from edgesplit.node.meter.choose import open_meter


class MeterPool:
    """By name, and by the watts that a session plans with. Several threads may call it."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, Power], tuple[Meter, int]] = {}  # and how many use it
        self._lock = threading.Lock()

    def open(self, name: str, power: Power) -> Meter:
        """As open_meter(); one more release() is to come. Raises MeterError."""
        with self._lock:
            meter, users = self._open.get((name, power)) or (open_meter(name, power), 0)
            self._open[name, power] = meter, users + 1
            return meter

    def release(self, meter: Meter) -> None:
        """One user less; the last one closes it. One that is not of this pool is closed."""
        with self._lock:
            for key, (known, users) in self._open.items():
                if known is not meter:
                    continue
                if users > 1:
                    self._open[key] = meter, users - 1
                    return
                del self._open[key]
                break
        meter.close()
