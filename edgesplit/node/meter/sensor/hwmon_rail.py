"""One channel of a power meter chip: which of its files belong together, and how fine it is.

Which voltage belongs to which current is a rule per chip, never guessed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgesplit.node.meter.sensor.sysfs import read_int

PowerFrom = Literal["energy", "power", "product"]
FILE_STEP = 1e-6  # energy and power files hold whole uJ and uW


@dataclass(frozen=True)
class Chip:
    """How a chip's channels pair, and how fine and fast it is.

    pairs: which in{i} and curr{j} belong together. shunt_step_v, volt_step_v: its steps; the
    files' own are 1 mA and 1 mV. power_steps: watts in its power file per ampere of a current
    step. update_s: where it has no file update_interval, for one sample.
    """

    pairs: tuple[tuple[int, int], ...]
    shunt_step_v: float = 0.0
    volt_step_v: float = 1e-3
    power_steps: float = 0.0
    update_s: float = 0.1
    note: str = ""


# Steps and default timing are those of the kernel's drivers (drivers/hwmon/ina2xx.c, ina3221.c,
# ina238.c).
_INA219 = Chip(((1, 1),), 10e-6, 4e-3, 20.0, 1.1e-3)
_INA226 = Chip(((1, 1),), 2.5e-6, 1.25e-3, 25.0, 35.2e-3)
CHIPS = {
    "ina219": _INA219,
    "ina220": _INA219,
    "ina226": _INA226,
    "ina230": _INA226,
    "ina231": _INA226,
    "ina238": Chip(((1, 1),), 5e-6, 3.125e-3, 0.2, 50.5e-3),
    "ina260": Chip(((1, 1),), 2.5e-6, 1.25e-3, 8.0, 35.2e-3, "shunt of 2 mOhm is built in"),
    "ltc2947": Chip(((0, 1),), note="its own steps and update period [unverified]"),
    "ina3221": Chip(((1, 1), (2, 2), (3, 3)), 40e-6, 8e-3, update_s=6.6e-3),
    "powerz": Chip(
        ((0, 1),),
        note="each read is a USB transaction; update period and averaging [unverified]; "
        "the sign of the current tells which way it is plugged in, and is ignored",
    ),
}


@dataclass(frozen=True)
class Rail:
    """One channel of one chip: in{volt}, curr{curr}, and the `way` its figure comes about."""

    folder: Path
    chip: str
    volt: int
    curr: int
    label: str
    way: PowerFrom = "product"

    def read(self) -> float:
        """Joules where `way` is energy, otherwise watts. Raises MeterError."""
        if self.way == "product":
            value = self._volts() * self._amperes()
        else:
            value = self._int(f"{self.way}1_input") * 1e-6
        return abs(value) if self.chip == "powerz" else value

    def switch_off(self) -> Path | None:
        """The file by which the channel is switched off, if one is. Raises MeterError."""
        names = (f"in{self.volt}_enable", f"curr{self.curr}_enable", "power1_enable")
        paths = [self.folder / name for name in names if self._has(name)]
        return next((path for path in paths if read_int(path) == 0), None)

    def shunt_ohm(self) -> float | None:
        """The shunt the driver reckons with; None where it does not say. Raises MeterError."""
        names = ("shunt_resistor", f"shunt{self.curr}_resistor")
        name = next((name for name in names if self._has(name)), None)
        if name is None:
            return 2e-3 if self.chip == "ina260" else None
        return self._int(name) * 1e-6

    def step(self) -> float:
        """The smallest step in J or W; of volts times amperes, the coarser one's at this moment."""
        chip, ohm = CHIPS[self.chip], self.shunt_ohm()
        step_a = chip.shunt_step_v / ohm if ohm else 0.0
        if self.way == "energy":
            return FILE_STEP
        if self.way == "power":
            return max(FILE_STEP, chip.power_steps * step_a)
        return max(
            self._volts() * max(1e-3, step_a), abs(self._amperes()) * max(1e-3, chip.volt_step_v)
        )

    def update_s(self) -> float:
        """Seconds of one conversion with all its samples and channels. Raises MeterError."""
        if self._has("update_interval"):
            return max(1, self._int("update_interval")) * 1e-3  # the file holds whole ms
        return CHIPS[self.chip].update_s * (self._int("samples") if self._has("samples") else 1)

    def describe(self) -> str:
        """How its figure comes about, in words. Raises MeterError."""
        product = f"in{self.volt}_input * curr{self.curr}_input, two reads one after the other"
        ohm = self.shunt_ohm()
        shunt = f", shunt {ohm * 1e3:g} mOhm as its driver was told" if ohm else ""
        way = product if self.way == "product" else f"{self.way}1_input"
        return f"{self.label}: {way}{shunt}"

    def _volts(self) -> float:
        return self._int(f"in{self.volt}_input") * 1e-3

    def _amperes(self) -> float:
        return self._int(f"curr{self.curr}_input") * 1e-3

    def _has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def _int(self, name: str) -> int:
        return read_int(self.folder / name)
