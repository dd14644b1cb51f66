"""What this host says of its load: processors, memory, heat and throttling. A few small files.

Processors: /proc/stat, less what this process itself took, which is a session's own work. Memory:
the tightest limit (node/process/headroom.py). Heat: the kernel's thermal zones with their trip
points, Intel's coretemp, NVIDIA's GPUs, and a Raspberry Pi's firmware.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.errors import MeterError
from edgesplit.node.meter.gpu_heat import GpuHeat
from edgesplit.node.meter.sensor.vcio import Transport, firmware_transports
from edgesplit.node.process.headroom import tightest_memory

PERIOD_S = 1.0  # a word that is younger is given again
# The kernel slows a device down at a passive trip point, acts at a hot one and halts at a critical
# one (Documentation/driver-api/thermal/sysfs-api.rst); the first kind that there is counts.
_TRIPS = ("passive", "hot", "critical")
_MOST_TRIPS = 12
_PLAUSIBLE_C = (-50.0, 150.0)  # zones without a sensor say 0 K and the like
# Bits of get_throttled that are of now: capped, throttled, soft temperature limit
# (raspberrypi.com, documentation of vcgencmd). Bit 0 is a low voltage, which alone slows nothing.
_THROTTLED_NOW = 0b1110
_IDLE_FIELDS = (3, 4)  # idle and iowait of /proc/stat's line `cpu` (proc(5))
_COUNTED = 8  # fields of it; the rest are guests' times, which are in `user` as well


class HostLoadReader:
    """Reads the host at `root`. read() may be called as often as one likes.

    own_s: seconds of processor time that this process has taken so far. gpus, firmware: None: those
    that are here.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        own_s: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
        gpus: GpuHeat | None = None,
        firmware: Transport | None = None,
    ) -> None:
        self._root, self._own_s, self._clock = root, own_s, clock
        self._gpus = gpus or GpuHeat()
        self._firmware = firmware or _firmware(root)
        self._zones = [*_zones(root), *_cores(root)]
        self._per_s = float(os.sysconf("SC_CLK_TCK"))
        self._last: tuple[float, float, float] | None = None  # ticks in all, idle ones, own seconds
        self._word, self._read_s = HostLoad(), float("-inf")

    def read(self) -> HostLoad:
        """What there is to say now; utilisation is None the first time."""
        now_s = self._clock()
        if now_s - self._read_s < PERIOD_S:
            return self._word
        self._read_s = now_s
        memory, heat = tightest_memory(), [*self._heat(), *self._gpus.heat()]
        nearest = max(heat, key=lambda pair: pair[0] - pair[1], default=(None, None))
        self._word = HostLoad(
            utilisation=self._utilisation(),
            free_bytes=max(0, memory.available),
            total_bytes=memory.total,
            temperature_c=nearest[0],
            throttles_at_c=nearest[1],
            is_throttled=self._is_throttled(),
        )
        return self._word

    def _utilisation(self) -> float | None:
        """The share of all processors that others took since the last call."""
        line = _text(self._root / "proc/stat").partition("\n")[0].split()
        try:
            ticks = [float(value) for value in line[1 : 1 + _COUNTED]]
        except ValueError:
            return None
        if line[:1] != ["cpu"] or len(ticks) <= max(_IDLE_FIELDS):
            return None
        now = sum(ticks), sum(ticks[field] for field in _IDLE_FIELDS), self._own_s()
        last, self._last = self._last, now
        if last is None or now[0] <= last[0]:
            return None
        whole, idle, own_s = (b - a for a, b in zip(last, now, strict=True))
        return min(1.0, max(0.0, (whole - idle - own_s * self._per_s) / whole))

    def _heat(self) -> Iterator[tuple[float, float]]:
        """(temperature, where it throttles) of each zone that says both now."""
        for file, limit_c in self._zones:
            temperature_c = _degrees(file)
            if temperature_c is not None:
                yield temperature_c, limit_c

    def _is_throttled(self) -> bool | None:
        said = [self._gpus.is_throttled(), self._firmware_throttles()]
        known = [one for one in said if one is not None]
        return any(known) if known else None

    def _firmware_throttles(self) -> bool | None:
        if self._firmware is None:
            return None
        try:
            text = self._firmware("get_throttled")
            return bool(int(text.partition("=")[2].strip(), 16) & _THROTTLED_NOW)
        except (MeterError, ValueError):
            self._firmware = None  # it will not tell: it is not asked every second
            return None


def _firmware(root: Path) -> Transport | None:
    """The best way to a Raspberry Pi's firmware; None on other boards."""
    if not _text(root / "proc/device-tree/model").startswith("Raspberry Pi"):
        return None
    return next(iter(firmware_transports(root)), None)


def _zones(root: Path) -> Iterator[tuple[Path, float]]:
    """(file of the temperature, where it throttles) of thermal zones with a trip point."""
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        limits = dict[str, float]()
        for number in range(_MOST_TRIPS):
            kind = _text(zone / f"trip_point_{number}_type")
            limit_c = _degrees(zone / f"trip_point_{number}_temp")
            if kind in _TRIPS and limit_c is not None and limit_c > 0:
                limits[kind] = min(limit_c, limits.get(kind, limit_c))
        for kind in _TRIPS:
            if kind in limits:
                yield zone / "temp", limits[kind]
                break


def _cores(root: Path) -> Iterator[tuple[Path, float]]:
    """The same of Intel's processors, whose crit is the temperature at which they throttle
    (Documentation/hwmon/coretemp.rst).
    """
    for chip in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if _text(chip / "name") == "coretemp":
            for file in sorted(chip.glob("temp*_crit")):
                limit_c = _degrees(file)
                if limit_c is not None and limit_c > 0:
                    yield chip / file.name.replace("_crit", "_input"), limit_c


def _degrees(file: Path) -> float | None:
    """Of a file in thousandths; None where it says nothing that can be."""
    text = _text(file)
    if not text.lstrip("-").isdigit():
        return None
    degrees = int(text) / 1000
    return degrees if _PLAUSIBLE_C[0] < degrees < _PLAUSIBLE_C[1] else None


def _text(file: Path) -> str:
    """A small file's text; empty where it cannot be read."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
