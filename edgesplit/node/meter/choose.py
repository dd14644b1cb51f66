"""Which meter a tier uses: the one that was named, or the best that this host has.

A name is `auto`, `model`, or sources joined by `+`, each `ID` or `ID:ARGUMENT`: `rapl`,
`rapl:/host/sys`, `nvml:0,1`, `fixed:12`, `shelly:http://192.168.1.40`, `replay:run.csv`.
"""

from collections.abc import Sequence
from pathlib import Path

from edgesplit.core.energy.source import Scope
from edgesplit.core.power import Power
from edgesplit.errors import MeterError
from edgesplit.node.meter import Meter
from edgesplit.node.meter.calibration import HostCalibrations, read_calibrations
from edgesplit.node.meter.host_state import boot_id
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.meter.sampled import SampledMeter
from edgesplit.node.meter.sampler import Sampler
from edgesplit.node.meter.source import EnergySource, Found, battery, hwmon, nvml, pi_pmic, rapl
from edgesplit.node.meter.source.fixed import FixedSource
from edgesplit.node.meter.source.nvml import NvmlSource, NvmlTwoPointSource
from edgesplit.node.meter.source.pi_pmic import ONE_BOARD, PiPmicSource, PmicCalibration
from edgesplit.node.meter.source.replay import ReplaySource
from edgesplit.node.meter.source.shelly import ShellySource
from edgesplit.node.meter.two_point import TwoPointMeter

AUTO, MODEL = "auto", "model"
SYS = Path("/sys")
# What is taken by itself, best first: the widest scope that covers one tier's computing and
# nothing else. A GPU is not, while segments run on the CPU; a battery and a plug are too slow, and
# psys is right on some laptops only.
AUTO_SCOPES: tuple[Scope, ...] = ("board input", "board rails", "cpu package")
OTHERS_BOARD = (
    "the PMIC's gain and offset are another board's: `edgesplit calibrate --pmic-against METER`"
)
# Which rail or which device these sit on is not known: a tester may feed another machine's board.
_NOT_BY_ITSELF = ("hwmon-ina2", "hwmon-ltc", "hwmon-powerz")
_DENIED = "may not"  # how the sources say that access is refused
_BY_NAME_ONLY = ("nvml:GPU,GPU", "nvml-two-point", "fixed:WATTS", "shelly:URL", "replay:FILE.csv")


def discover(root: Path = SYS) -> list[Found]:
    """Every source that this host might have, usable or not, with the reason and the fix."""
    found = [*rapl.discover(root), *hwmon.discover(root), *battery.discover(root)]
    return [*found, *pi_pmic.discover(calibration=ONE_BOARD), *nvml.discover()]


def open_meter(name: str, power: Power) -> Meter:
    """The meter of that name, opened. power: the watts to plan with where none are calibrated.

    `auto` falls back to the power model; a source that was named must work: MeterError if not.
    """
    if name == MODEL:
        return PowerModelMeter(power)
    if name.startswith("fixed:") and "+" not in name:
        return PowerModelMeter(_fixed(name))
    flags: tuple[str, ...] = ()
    try:
        known = read_calibrations()
    except MeterError as error:
        known, flags = HostCalibrations(), (f"not calibrated: {error}",)
    if name == AUTO:
        found = discover()
        best = _best(found, known)
        if best is None:
            denied = (one for one in found if one.source is None and _DENIED in one.reason)
            told = (f"not metered: {one.id}: {one.reason}; {one.fix}" for one in denied)
            return PowerModelMeter(power, (*flags, *told))
        name, sources = best.info.id, [best]
    else:
        name = _canonical(name)
        sources = [named_source(part, known) for part in name.split("+")]
    if "pi-pmic" in name and known.pmic is None:
        flags = (*flags, OTHERS_BOARD)
    calibration = known.phases.get(name)
    watts = calibration.power() if calibration else power
    if calibration is None and known.phases:
        flags = (*flags, f"not calibrated: this host is for {', '.join(known.phases)} only")
    if name.startswith("nvml-two-point"):
        meter: Meter = TwoPointMeter(sources[0], watts, name)
    else:
        samplers = [Sampler(source) for source in sources]
        meter = SampledMeter(samplers, watts, name, flags, _place(name))
    meter.open()
    return meter


def _canonical(name: str) -> str:
    """One way to write it, under which a calibration is kept: sorted, defaults left out."""
    parts = [part.removesuffix(f":{SYS}") for part in name.split("+")]
    return "+".join(sorted(dict.fromkeys(parts)))


def _place(name: str) -> str:
    """Where the sources of that name are: a plug's address, a folder, or this host."""
    for part in name.split("+"):
        kind, _, argument = part.partition(":")
        if kind in ("shelly", "replay"):
            return argument
        if argument.startswith("/"):
            return f"{boot_id()}{argument}"
    return boot_id()


def named_source(name: str, known: HostCalibrations | None = None) -> EnergySource:
    """The source called `ID` or `ID:ARGUMENT`, not opened. Raises MeterError."""
    kind, _, argument = name.partition(":")
    match kind:
        case "fixed":
            return FixedSource(_number(name, argument))
        case "shelly":
            return ShellySource(argument)
        case "replay":
            return ReplaySource(Path(argument))
        case "nvml" | "nvml-two-point" if argument or kind == "nvml-two-point":
            made = NvmlSource if kind == "nvml" else NvmlTwoPointSource
            return made(tuple(_index(name, n) for n in argument.split(",") if n) or None)
        case "pi-pmic":
            return PiPmicSource(calibration=_line(known))
    return _discovered(name, kind, Path(argument) if argument else SYS)


def _line(known: HostCalibrations | None) -> PmicCalibration:
    """This board's own, or else the one that another board's owner has published."""
    return known.pmic if known is not None and known.pmic is not None else ONE_BOARD


def _discovered(name: str, kind: str, root: Path) -> EnergySource:
    found = discover(root)
    for one in found:
        if one.id == kind and one.source is not None:
            return one.source
    for one in found:
        if one.id == kind:
            raise MeterError(f"meter {name!r} cannot be used: {one.reason}", one.fix)
    known = ", ".join(dict.fromkeys([AUTO, MODEL, *(one.id for one in found), *_BY_NAME_ONLY]))
    raise MeterError(f"no meter {name!r} on this host", f"known are {known}")


def _best(found: Sequence[Found], known: HostCalibrations) -> EnergySource | None:
    usable = [one.source for one in found if one.source is not None]
    for scope in AUTO_SCOPES:
        for source in usable:
            if source.info.scope == scope and not source.info.id.startswith(_NOT_BY_ITSELF):
                return named_source("pi-pmic", known) if source.info.id == "pi-pmic" else source
    return None


def _fixed(name: str) -> Power:
    watts = _number(name, name.partition(":")[2])
    source = FixedSource(watts)  # checks the watts
    return Power(watts, watts, watts, watts, source=f"fixed, {watts:g} W", scope=source.info.scope)


def _index(name: str, text: str) -> int:
    if not text.isdecimal():
        raise MeterError(f"meter {name!r}: {text!r} is no number of a GPU", "such as nvml:0,1")
    return int(text)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise MeterError(f"meter {name!r}: {text!r} is no number", "such as fixed:12") from error
