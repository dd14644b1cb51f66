"""Fake trees of /sys as the kernel lays them out, in a folder of the test's own."""

from pathlib import Path

RANGE_UJ = 262143328850  # of a real Intel package, whose step is 61 uJ


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def write(folder: Path, **files) -> Path:
    """One file per keyword; what a file holds ends with a line feed, as in sysfs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")
    return folder


def zone(root: Path, path: str, name: str, energy_uj=0, range_uj=RANGE_UJ) -> Path:
    """A powercap zone; `path` under class/powercap, such as `intel-rapl:0/intel-rapl:0:1`."""
    folder = root / "class" / "powercap" / path
    return write(folder, name=name, energy_uj=energy_uj, max_energy_range_uj=range_uj)


def chip(root: Path, number: int, name: str, **files) -> Path:
    """A chip class/hwmon/hwmon<number>."""
    return write(root / "class" / "hwmon" / f"hwmon{number}", name=name, **files)


def battery(root: Path, name="BAT0", status="Discharging", **files) -> Path:
    """A battery class/power_supply/<name>."""
    folder = root / "class" / "power_supply" / name
    return write(folder, type="Battery", status=status, **files)


def set_uj(folder: Path, energy_uj) -> None:
    """What a zone's counter says from now on."""
    write(folder, energy_uj=energy_uj)
