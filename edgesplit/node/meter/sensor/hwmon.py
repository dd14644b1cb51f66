"""Power meter chips that Linux shows under class/hwmon: INAs, POWER-Z testers, Jetson's rails.

A chip without a rule of its own (hwmon_rail.py) is refused.
"""

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgesplit.core.energy.reading import Counter, Counters, Reading
from edgesplit.core.energy.sensor import Scope, SensorInfo
from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor import Found, tried
from edgesplit.node.meter.sensor.hwmon_rail import CHIPS, FILE_STEP, PowerFrom, Rail
from edgesplit.node.meter.sensor.sysfs import read_text

# Which rail or which device these sit on is not known: a tester may feed another machine's board.
BY_NAME_ONLY = ("hwmon-ina2", "hwmon-ltc", "hwmon-powerz")
TOTAL_RAILS = ("VDD_IN", "POM_5V_IN")  # the rail of a Jetson that feeds all others


@dataclass(frozen=True)
class Circuit:
    """The rails that one sensor sums, their scope, and what to know about that choice."""

    rails: tuple[Rail, ...]
    scope: Scope
    excludes: tuple[str, ...]
    note: str

    @property
    def is_counter(self) -> bool:
        """Whether its figures are joules."""
        return all(rail.way == "energy" for rail in self.rails)

    def info(self, id: str) -> SensorInfo:
        """What a sensor of it is. Reads the chips' settings; raises MeterError."""
        update_s = max(rail.update_s() for rail in self.rails)
        notes = {rail.chip: CHIPS[rail.chip].note for rail in self.rails}
        words = [f"Linux hwmon, {', '.join(notes)}", *(rail.describe() for rail in self.rails)]
        return SensorInfo(
            id=id,
            scope=self.scope,
            kind="counter" if self.is_counter else "power",
            update_s=update_s,
            averaging_s=0.0 if self.is_counter else update_s,
            resolution=sum(rail.step() for rail in self.rails),
            rel_accuracy=math.nan,
            excludes=self.excludes,
            provenance="; ".join([*words, *filter(None, notes.values()), self.note]),
        )


class HwmonSensor:
    """One meter chip, or rails of all INA3221. id: one of those that discover() gives."""

    def __init__(
        self,
        id: str,
        root: Path = Path("/sys"),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._id, self._root, self._clock = id, root, clock
        self._circuit: Circuit | None = None
        self._counters = Counters({})
        self._info = SensorInfo(
            id, "board input", "power", 0.1, 0.1, FILE_STEP, math.nan, (), "Linux hwmon"
        )

    @property
    def info(self) -> SensorInfo:
        """What it is; complete once open() has been called."""
        return self._info

    def open(self) -> None:
        """Find the chip and read it once. Raises MeterError."""
        circuits = circuits_under(self._root)
        circuit = circuits.get(self._id)
        if circuit is None:
            raise MeterError(f"no {self._id} here, there is: {', '.join(circuits) or 'none'}")
        if isinstance(circuit, MeterError):
            raise circuit
        self._info = circuit.info(self._id)
        self._counters = Counters({rail.label: Counter(math.inf) for rail in circuit.rails})
        self._circuit = circuit
        self.read()

    def read(self) -> Reading:
        """Watts now, or joules since open() where the chip sums them; per rail in parts.

        Raises MeterError, also where the current flows back.
        """
        if self._circuit is None:
            raise MeterError(f"{self._id} is not open", "call open() first")
        began_s = self._clock()
        parts = {rail.label: rail.read() for rail in self._circuit.rails}
        at_s = (began_s + self._clock()) / 2  # a read may wait for a conversion
        if self._circuit.is_counter:
            self._counters = self._counters.advance(parts, at_s)
            return self._counters.reading(at_s)
        watts = sum(parts.values())
        if watts < -self._info.resolution:
            raise MeterError(
                f"{self._id} says {watts:.3g} W, as if current flowed back to the supply",
                "swap the two leads of the shunt",
            )
        return Reading(at_s, watts=watts, parts=parts)

    def close(self) -> None:
        """Forget the chip; nothing is kept open between reads."""
        self._circuit = None


def circuits_under(root: Path) -> dict[str, Circuit | MeterError]:
    """Every meter chip under class/hwmon by the id of its sensor, or why it cannot be used."""
    chips = _chips(root)
    singles = [(name, folder) for name, folder in chips if len(_pairs(name)) == 1]
    n_inas = sum(name != "powerz" for name, _ in singles)
    found: dict[str, Circuit | MeterError] = {}
    for i, (name, folder) in enumerate(singles):
        nth = [other for other, _ in singles[:i]].count(name)
        found[f"hwmon-{name}-{nth}"] = _single(name, folder, n_inas)
    found |= _rails([folder for name, folder in chips if name == "ina3221"])
    return found | {
        f"hwmon-{name}-{folder.name}": MeterError(
            f"chip {name!r} at {folder} has power files, but which of its files belong together "
            "is not known",
            "add its rule to CHIPS in edgesplit/node/meter/sensor/hwmon_rail.py",
        )
        for name, folder in chips
        if name not in CHIPS and _has_power(folder)
    }


def discover(root: Path = Path("/sys")) -> list[Found]:
    """Every power meter chip of this host: tried, or why it cannot be used."""
    try:
        found = [tried(HwmonSensor(id, root)) for id in circuits_under(root)]
    except MeterError as error:  # a file that says what a chip is cannot be read
        return [Found("hwmon", None, error.reason, error.fix)]
    reason = f"no power meter chip under {root}/class/hwmon, looked for {', '.join(CHIPS)}"
    return found or [Found("hwmon", None, reason)]


def _chips(root: Path) -> list[tuple[str, Path]]:
    """Name and folder of each chip in the order of their numbers; those without a name are none."""
    folders = (root / "class" / "hwmon").glob("hwmon*")
    ordered = sorted(folders, key=lambda folder: (len(folder.name), folder.name))
    return [(read_text(f / "name"), f) for f in ordered if (f / "name").exists()]


def _pairs(name: str) -> tuple[tuple[int, int], ...]:
    return CHIPS[name].pairs if name in CHIPS else ()


def _has_power(folder: Path) -> bool:
    pattern = re.compile(r"(power\d+_(input|average)|energy\d+_input)")
    return any(pattern.fullmatch(path.name) for path in folder.iterdir())


def _single(name: str, folder: Path, n_inas: int) -> Circuit | MeterError:
    """The circuit of a chip with one channel; its own joules before its watts before a product."""
    ((volt, curr),) = CHIPS[name].pairs
    has = {way for way in ("energy", "power") if (folder / f"{way}1_input").exists()}
    way: PowerFrom = "energy" if "energy" in has else "power" if "power" in has else "product"
    rail = Rail(folder, name, volt, curr, name, way)
    if switch := rail.switch_off():
        return MeterError(f"{name} is switched off by {switch}", f"echo 1 | sudo tee {switch}")
    if name == "powerz":
        return Circuit((rail,), "board input", ("loss before the tester",), "inline USB-C tester")
    if n_inas == 1:
        note = "assumed to sit at the board's supply [unverified]"
        return Circuit((rail,), "board input", ("loss before the chip",), note)
    note = f"one of {n_inas} such chips: which rail it sits on is not known"
    return Circuit((rail,), "board rails", ("rails of other chips",), note)


def _rails(folders: Sequence[Path]) -> dict[str, Circuit | MeterError]:
    """The total rail of all INA3221 chips, or where there is none the sum of their rails."""
    if not folders:
        return {}
    rails = [rail for folder in folders for rail in _labelled(folder)]
    labels = [rail.label for rail in rails]
    if len(set(labels)) < len(labels):  # two chips, one name: parts of a reading need two
        rails = [replace(rail, label=f"{rail.label} {rail.folder.name}") for rail in rails]
    totals = [rail for rail in rails if rail.label.split()[0] in TOTAL_RAILS]
    if totals:
        note = "total power of the Jetson module, which feeds its other rails"
        circuit = Circuit((totals[0],), "board input", ("carrier board beyond the module",), note)
        return {f"hwmon-ina3221-{totals[0].label}": circuit}
    if rails:
        note = "no total rail: a rail that feeds another is counted twice [unverified]"
        excludes = ("rails that are not measured", "loss before the rails")
        return {"hwmon-ina3221-rails": Circuit(tuple(rails), "board rails", excludes, note)}
    return {
        "hwmon-ina3221-rails": MeterError(
            f"ina3221 at {', '.join(map(str, folders))} has no channel that is on and has a label",
            "label its inputs in the device tree, or switch one on: "
            f"echo 1 | sudo tee {folders[0]}/in1_enable",
        )
    }


def _labelled(folder: Path) -> list[Rail]:
    """Channels that are on, connected and named; what one without a label measures is not known."""
    rails = []
    for volt, curr in CHIPS["ina3221"].pairs:
        path = folder / f"in{volt}_label"
        label = read_text(path) if path.exists() else ""
        rail = Rail(folder, "ina3221", volt, curr, label)
        if label and label != "NC" and rail.switch_off() is None:
            rails.append(rail)
    return rails
