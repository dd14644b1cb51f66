"""Which meter a tier uses: the one that was named, or the best that this host has.

A name is `auto`, `model`, or sensors joined by `+`, each `ID` or `ID:ARGUMENT`: `rapl`,
`rapl:/host/sys`, `nvml:0,1`, `fixed:12`, `shelly:http://192.168.1.40`, `replay:run.csv`.
"""

from collections.abc import Sequence
from pathlib import Path

from edgesplit.core.energy.sensor import Scope
from edgesplit.core.power import Power
from edgesplit.errors import MeterError
from edgesplit.node.meter import Meter
from edgesplit.node.meter.calibration import HostCalibrations, read_calibrations
from edgesplit.node.meter.host_state import boot_id
from edgesplit.node.meter.name import AUTO, MODEL, is_read
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.meter.sampled import SampledMeter
from edgesplit.node.meter.sampler import Sampler
from edgesplit.node.meter.sensor import EnergySensor, Found
from edgesplit.node.meter.sensor.pi_pmic import PiPmicSensor
from edgesplit.node.meter.sensor.table import SENSORS, known_sensor

SYS = Path("/sys")
# What is taken by itself, best first: the widest scope that covers one tier's computing and
# nothing else. A GPU is not, while segments run on the CPU; a battery and a plug are too slow, and
# psys is right on some laptops only.
AUTO_SCOPES: tuple[Scope, ...] = ("board input", "board rails", "cpu package")
OTHERS_BOARD = (
    "the PMIC's gain and offset are another board's: `edgesplit calibrate --pmic-against METER`"
)
_DENIED = "may not"  # how the sensors say that access is refused


def discover(root: Path = SYS) -> list[Found]:
    """Every sensor that this host might have, usable or not, with the reason and the fix."""
    kinds = [one.discover for one in SENSORS.values() if one.discover is not None]
    return [found for discover in kinds for found in discover(root)]


def open_meter(name: str, power: Power) -> Meter:
    """The meter of that name, opened. power: the watts to plan with where none are calibrated.

    `auto` falls back to the power model; a sensor that was named must work: MeterError if not.
    """
    if name == MODEL:
        return PowerModelMeter(power)
    if name != AUTO and not is_read(name):
        return PowerModelMeter(_assumed(name))
    flags: tuple[str, ...] = ()
    try:
        known = read_calibrations()
    except MeterError as error:
        known, flags = HostCalibrations(), (f"not calibrated: {error}",)
    if name == AUTO:
        found = discover()
        best = _best(found)
        if best is None:
            denied = (one for one in found if one.sensor is None and _DENIED in one.reason)
            told = (f"not metered: {one.id}: {one.reason}; {one.fix}" for one in denied)
            return PowerModelMeter(power, (*flags, *told))
        name, sensors = best.info.id, [_with_own_fit(best, known)]
    else:
        name = _canonical(name)
        sensors = [named_sensor(part, known) for part in name.split("+")]
    if known.pmic is None and any(isinstance(sensor, PiPmicSensor) for sensor in sensors):
        flags = (*flags, OTHERS_BOARD)
    calibration = known.phases.get(name)
    watts = calibration.power() if calibration else power
    if calibration is None and known.phases:
        flags = (*flags, f"not calibrated: this host is for {', '.join(known.phases)} only")
    samplers = [Sampler(sensor) for sensor in sensors]
    meter = SampledMeter(samplers, watts, name, flags, _place(name))
    meter.open()
    return meter


def _canonical(name: str) -> str:
    """One way to write it, under which a calibration is kept: sorted, defaults left out."""
    parts = [part.removesuffix(f":{SYS}") for part in name.split("+")]
    return "+".join(sorted(dict.fromkeys(parts)))


def _place(name: str) -> str:
    """Where the sensors of that name are: a plug's address, a folder, or this host."""
    for part in name.split("+"):
        one, argument = known_sensor(part), part.partition(":")[2]
        if one is not None and one.is_elsewhere:
            return argument
        if argument.startswith("/"):
            return f"{boot_id()}{argument}"
    return boot_id()


def named_sensor(name: str, known: HostCalibrations | None = None) -> EnergySensor:
    """The sensor called `ID` or `ID:ARGUMENT`, not opened. Raises MeterError."""
    one, (kind, _, argument) = known_sensor(name), name.partition(":")
    if one is None:
        raise _unknown(name)
    is_given = bool(argument) or one.discover is None
    if one.from_argument is not None and is_given and kind == one.name:
        return one.from_argument(argument)
    found = one.discover(Path(argument) if argument else SYS) if one.discover is not None else []
    named = next((found for found in found if found.id == kind), None)
    if named is None:
        raise _unknown(name)
    if named.sensor is None:
        raise MeterError(f"meter {name!r} cannot be used: {named.reason}", named.fix)
    return _with_own_fit(named.sensor, known)


def _unknown(name: str) -> MeterError:
    forms = [one.form for one in SENSORS.values() if one.argument]
    known = dict.fromkeys([AUTO, MODEL, *(one.id for one in discover()), *forms])
    return MeterError(f"no meter {name!r} on this host", f"known are {', '.join(known)}")


def _with_own_fit(sensor: EnergySensor, known: HostCalibrations | None) -> EnergySensor:
    """A PMIC's with this board's own line, where there is one, in place of another board's."""
    if isinstance(sensor, PiPmicSensor) and known is not None and known.pmic is not None:
        return PiPmicSensor(calibration=known.pmic)
    return sensor


def _best(found: Sequence[Found]) -> EnergySensor | None:
    by_name_only = tuple(id for one in SENSORS.values() for id in one.by_name_only)
    usable = [one.sensor for one in found if one.sensor is not None]
    for scope in AUTO_SCOPES:
        for sensor in usable:
            if sensor.info.scope == scope and not sensor.info.id.startswith(by_name_only):
                return sensor
    return None


def _assumed(name: str) -> Power:
    sensor = named_sensor(name)
    watts = sensor.read().watts or 0.0
    told = f"{name.partition(':')[0]}, {watts:g} W"
    return Power(watts, watts, watts, watts, provenance=told, scope=sensor.info.scope)
