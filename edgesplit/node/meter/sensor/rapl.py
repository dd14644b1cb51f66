"""RAPL: energy counters of Intel and AMD processors, as Linux shows them under class/powercap.

One sensor per domain. A zone is found by its name; one that is shown twice is counted once.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgesplit.core.energy.reading import Counter, Counters, Reading
from edgesplit.core.energy.sensor import Scope, SensorInfo
from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor import Found, tried
from edgesplit.node.meter.sensor.sysfs import read_int, read_text

UPDATE_S = 1e-3  # about 1 ms, with jitter (Haehnel et al., SIGMETRICS PER 2012); unverified
UNIT_J = 61e-6  # one step of most Intel counters; open() takes the machine's own
MIRROR_J = 1.0  # two views of one counter differ by an update at most: 1 kW for 1 ms
UDEV_FIX = (
    "sudo groupadd -f edgesplit && "
    'echo \'SUBSYSTEM=="powercap", KERNEL=="intel-rapl*:*", '
    'RUN+="/usr/bin/chgrp edgesplit /sys/%p/energy_uj", '
    'RUN+="/usr/bin/chmod g+r /sys/%p/energy_uj"\' '
    "| sudo tee /etc/udev/rules.d/70-edgesplit-rapl.rules && "
    "sudo udevadm control --reload-rules && sudo udevadm trigger && "
    'sudo usermod -aG edgesplit "$USER" && echo "now log out and in again"'
)


@dataclass(frozen=True)
class Domain:
    """What one sensor sums: zones whose name begins with `zone`."""

    id: str
    zone: str
    scope: Scope
    excludes: tuple[str, ...]
    note: str = ""


_OUTSIDE = ("SSD", "display", "Wi-Fi", "USB devices", "power supply loss")
PACKAGE = Domain("rapl", "package", "cpu package", ("DRAM on client parts", *_OUTSIDE))
PSYS = Domain(
    "rapl-psys",
    "psys",
    "platform",
    ("what the maker left off the platform rail", "power supply loss"),
    "on some laptops far off: check it against the battery first [unverified here]",
)
DRAM = Domain("rapl-dram", "dram", "dram", ("cpu package", *_OUTSIDE))


@dataclass(frozen=True)
class Zone:
    """One zone: its folder, and its name, led by the package's where it lies in one."""

    path: Path
    name: str

    def read_j(self) -> float:
        """Its counter in joules. Raises MeterError, with the udev rule where access is refused."""
        return read_int(self.path / "energy_uj", UDEV_FIX) * 1e-6


class RaplSensor:
    """The zones of one domain, summed. Its joules count from open()."""

    def __init__(
        self,
        root: Path = Path("/sys"),
        clock: Callable[[], float] = time.perf_counter,
        domain: Domain = PACKAGE,
        cpuinfo: Path = Path("/proc/cpuinfo"),
    ) -> None:
        self._root, self._clock, self._domain, self._cpuinfo = root, clock, domain, cpuinfo
        self._zones: list[Zone] = []
        self._counters = Counters({})
        self._mirrors: dict[Zone, Zone] = {}  # a zone that is not counted, and whom it repeats
        self._info = SensorInfo(
            id=domain.id,
            scope=domain.scope,
            kind="counter",
            update_s=UPDATE_S,
            averaging_s=0.0,
            resolution=UNIT_J,
            rel_accuracy=math.nan,
            excludes=domain.excludes,
            provenance="Linux powercap (RAPL)",
        )

    @property
    def info(self) -> SensorInfo:
        """What it is; complete once open() has been called."""
        return self._info

    def open(self) -> None:
        """Find the zones and read each once. Raises MeterError."""
        zones = self._find()
        self._mirrors = mirrors(zones)
        self._zones = [zone for zone in zones if zone not in self._mirrors]
        ranges_j = [read_int(zone.path / "max_energy_range_uj") * 1e-6 for zone in self._zones]
        counted = zip(self._zones, ranges_j, strict=True)
        self._counters = Counters({zone.name: Counter(range_j) for zone, range_j in counted})
        # The range is 2^32 - 1 steps (drivers/powercap/intel_rapl_common.c); the file shows uJ.
        step_j = max(1e-6, max(ranges_j) / 0xFFFFFFFF)
        self._info = replace(self._info, resolution=step_j, provenance=self._provenance())
        self.read()

    def read(self) -> Reading:
        """Joules since open(), per zone in parts; a break where any zone was reset."""
        if not self._zones:
            raise MeterError(f"{self._domain.id} is not open", "call open() first")
        now_s = self._clock()
        raws_j = {zone.name: zone.read_j() for zone in self._zones}
        for mirror, twin in self._mirrors.items():
            self._check_mirror(mirror, twin)
        self._counters = self._counters.advance(raws_j, now_s)
        return self._counters.reading(now_s)

    def close(self) -> None:
        """Forget the zones; nothing is kept open between reads."""
        self._zones, self._mirrors = [], {}

    def _find(self) -> list[Zone]:
        zones = find_zones(self._root)
        wanted = [zone for zone in zones if zone.name.split("/")[-1].startswith(self._domain.zone)]
        if wanted:
            return wanted
        names = ", ".join(zone.name for zone in zones) or "no zone at all"
        reason = f"no {self._domain.zone} zone under {self._root}/class/powercap: {names}"
        raise MeterError(reason, "" if zones else self._driver_fix())

    def _driver_fix(self) -> str:
        """Loads the driver; empty where the processor is not one that has RAPL."""
        text = _words_of(self._cpuinfo)
        if not {"GenuineIntel", "AuthenticAMD"} & text:
            return ""
        if "hypervisor" in text:
            return "run on the host: a virtual machine is not shown its energy counters"
        return "sudo modprobe intel_rapl_msr"

    def _check_mirror(self, mirror: Zone, twin: Zone) -> None:
        """Raise MeterError where a zone that is left out turns out to have its own counter."""
        if not repeats(mirror, twin):
            raise MeterError(
                f"{mirror.name} no longer repeats {twin.name}, so joules so far lack it",
                "close the source and open it again: it then counts both",
            )

    def _provenance(self) -> str:
        zones = ", ".join(f"{zone.path.name} {zone.name}" for zone in self._zones)
        words = [f"Linux powercap (RAPL): {zones}; update period about 1 ms [unverified]"]
        words += [f"{m.name} repeats {t.name} and is not counted" for m, t in self._mirrors.items()]
        if self._domain.note:
            words.append(self._domain.note)
        if "sgx" in _words_of(self._cpuinfo):
            words.append("CPU has SGX: Intel may add noise to the counter (energy filtering)")
        return "; ".join(words)


def find_zones(root: Path) -> list[Zone]:
    """The zones under class/powercap, flat or nested, each once; intel-rapl before its repeats.

    The provider intel-rapl-mmio shows the same packages again: it counts where it is alone.
    """
    top = root / "class" / "powercap"
    patterns = [f"{'intel-rapl*/' * depth}intel-rapl*:*" for depth in range(3)]
    folders = {path.name: path for pattern in reversed(patterns) for path in top.glob(pattern)}
    zones: dict[str, Zone] = {}
    for folder in sorted(folders, key=_order):
        zone = Zone(folders[folder], _full_name(folder, folders))
        zones.setdefault(zone.name, zone)
    return list(zones.values())


def mirrors(zones: Sequence[Zone]) -> dict[Zone, Zone]:
    """Zones that repeat another of their package (AMD parts show one counter per die), with whom.

    Held to be so where both agree at two instants. Raises MeterError.
    """
    found: dict[Zone, Zone] = {}
    for i, zone in enumerate(zones):
        for twin in zones[:i]:
            is_pair = twin not in found and _is_other_die(zone, twin)
            if is_pair and repeats(zone, twin) and repeats(zone, twin):
                found[zone] = twin
                break
    return found


def repeats(zone: Zone, twin: Zone) -> bool:
    """Whether both may show one counter: its value lies between two reads of the twin's.

    So a pause between the reads cannot part a pair.
    """
    before_j, here_j, after_j = twin.read_j(), zone.read_j(), twin.read_j()
    if after_j < before_j:  # wrapped just now, which it does once in minutes: look again
        before_j, here_j, after_j = twin.read_j(), zone.read_j(), twin.read_j()
    return before_j - MIRROR_J <= here_j <= after_j + MIRROR_J


def discover(root: Path = Path("/sys")) -> list[Found]:
    """Packages, platform and DRAM of this host: each tried, or why it cannot be used."""
    return [tried(RaplSensor(root, domain=domain)) for domain in (PACKAGE, PSYS, DRAM)]


def _order(folder: str) -> tuple[bool, list[int]]:
    """Provider intel-rapl first, then by number."""
    provider, *numbers = folder.split(":")
    return provider != "intel-rapl", [int(number) for number in numbers if number.isdigit()]


def _full_name(folder: str, folders: dict[str, Path]) -> str:
    """`package-0`, or `package-0/dram` of a zone within it."""
    name = read_text(folders[folder] / "name")
    parent = folder.rpartition(":")[0]
    return f"{read_text(folders[parent] / 'name')}/{name}" if parent in folders else name


def _is_other_die(zone: Zone, twin: Zone) -> bool:
    package = zone.name.partition("-die-")[0]
    return twin.name.startswith(f"{package}-die-")


def _words_of(cpuinfo: Path) -> set[str]:
    """Every word of /proc/cpuinfo; none where a host has no such file."""
    try:
        return set(read_text(cpuinfo).split())
    except MeterError:
        return set()
