"""A laptop's battery under class/power_supply: the whole machine, while nothing charges it.

Its firmware renews the figures every few to 30 seconds, so only minutes-long windows mean anything.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor import Found, tried
from edgesplit.node.meter.sensor.sysfs import read_int, read_text

UPDATE_S = 30.0  # the slow end of 1 to 30 s; unverified, differs by firmware
STEP_A = 1e-3  # firmware counts in mA, mV or mW (ACPI 10.2.2.6, _BST)


class BatterySensor:
    """Watts that one battery gives. id: `battery`, or of several `battery-BAT0` and so on."""

    def __init__(
        self,
        id: str = "battery",
        root: Path = Path("/sys"),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._id, self._root, self._clock = id, root, clock
        self._folder: Path | None = None
        self._info = SensorInfo(
            id=id,
            scope="battery",
            kind="power",
            update_s=UPDATE_S,
            averaging_s=UPDATE_S,
            resolution=1e-3,
            rel_accuracy=math.nan,
            excludes=(),
            provenance="Linux power_supply",
        )

    @property
    def info(self) -> SensorInfo:
        """What it is; complete once open() has been called."""
        return self._info

    def open(self) -> None:
        """Find the battery and read it once. Raises MeterError, also while it is charged."""
        batteries = find_batteries(self._root)
        folder = batteries.get(self._id)
        if folder is None:
            names = ", ".join(batteries) or "none"
            raise MeterError(
                f"no {self._id} under {self._root}/class/power_supply, there is {names}"
            )
        self._folder = folder
        others = tuple(other for other in batteries if other != self._id)
        self._info = replace(
            self._info,
            resolution=1e-3 if _has_power(folder) else _volts(folder) * STEP_A,
            excludes=others,
            provenance=f"Linux power_supply, {folder.name}: {_way(folder)}; update period and "
            "averaging up to 30 s by firmware [unverified], so minutes-long windows only",
        )
        self.read()

    def read(self) -> Reading:
        """Watts that leave the battery. Raises MeterError unless it is discharging.

        The sign is ignored: drivers disagree which way is plus, so `status` decides.
        """
        if self._folder is None:
            raise MeterError(f"{self._id} is not open", "call open() first")
        at_s = self._clock()
        watts = abs(_watts(self._folder))
        status = read_text(self._folder / "status")  # after the watts: they hold for this status
        if status != "Discharging":
            raise MeterError(
                f"{self._folder.name} is {status!r}, and gives the machine's power only "
                "while Discharging",
                "unplug the charger",
            )
        if watts == 0:
            raise MeterError(
                f"{self._folder.name} says 0 W while Discharging: its firmware has no figure yet",
                "wait a minute and read again",
            )
        return Reading(at_s, watts=watts, parts={self._folder.name: watts})

    def close(self) -> None:
        """Forget the battery; nothing is kept open between reads."""
        self._folder = None


def find_batteries(root: Path) -> dict[str, Path]:
    """Folder of each battery by the id of its sensor: a single one is just `battery`."""
    folders = sorted((root / "class" / "power_supply").glob("BAT*"))
    if len(folders) == 1:
        return {"battery": folders[0]}
    return {f"battery-{folder.name}": folder for folder in folders}


def discover(root: Path = Path("/sys")) -> list[Found]:
    """Every battery of this host: tried, or why it cannot be used."""
    found = [tried(BatterySensor(id, root)) for id in find_batteries(root)]
    return found or [Found("battery", None, f"no battery under {root}/class/power_supply")]


def _has_power(folder: Path) -> bool:
    return (folder / "power_now").exists()


def _way(folder: Path) -> str:
    product = "voltage_now * current_now, two reads one after the other"
    return "power_now" if _has_power(folder) else product


def _volts(folder: Path) -> float:
    return read_int(folder / "voltage_now") * 1e-6


def _watts(folder: Path) -> float:
    """What the driver says, with the driver's sign."""
    if _has_power(folder):
        return read_int(folder / "power_now") * 1e-6
    return _volts(folder) * read_int(folder / "current_now") * 1e-6
