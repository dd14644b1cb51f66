"""Raspberry Pi 5: watts of the rails that its power chip (PMIC) measures, and their sum.

Rails are paired by name; half of one is an error, never a 0.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor import Found, tried
from edgesplit.node.meter.sensor.vcio import FIRMWARE_FIX, Transport, find_transports

ID = "pi-pmic"
COMMAND = "pmic_read_adc"
VOLTAGE_ONLY = frozenset({"EXT5V", "BATT"})
# Steps of 0.976 mA are seen on the 3.3 V rail; nobody states how fine the core's are.
RESOLUTION_W = 3.3e-3
UPDATE_S = 0.1
KNOWN = (
    "pmic_read_adc, a firmware command without documentation; how often its figures are new (taken "
    "as 0.1 s) and whether they are averaged (taken as not) is unknown [unverified]; wireless is "
    "rail 3V7_WL_SW, whose voltage drifts with temperature (raspberrypi/linux#6473)"
)
FIVE_VOLTS = "the 5 V rail: USB devices, HATs, NVMe, fan"

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_LINE = re.compile(rf"(\S+)_(?:A\s+current\(\d+\)={_NUMBER}A|V\s+volt\(\d+\)={_NUMBER}V)")


@dataclass(frozen=True)
class PmicCalibration:
    """The board's input power as gain x the rails' sum + offset_w, fitted against `meter`.

    residual_w: standard deviation of what is left, NaN where it is not stated. date: of the fit.
    """

    gain: float
    offset_w: float
    residual_w: float
    date: str
    meter: str

    def __post_init__(self) -> None:
        is_finite = math.isfinite(self.gain) and math.isfinite(self.offset_w)
        if not is_finite or self.gain <= 0 or self.residual_w < 0:
            raise MeterError(f"gain must be above 0, offset finite, residual >= 0, given {self}")

    def describe(self) -> str:
        """The calibration in words, for a figure's provenance."""
        residual = "unknown" if math.isnan(self.residual_w) else f"{self.residual_w:.3g} W"
        return (
            f"{self.gain:.4f} x rails + {self.offset_w:.4f} W, against {self.meter}, {self.date}, "
            f"residual {residual}"
        )


# What others fitted; this board differs, and so does what is plugged into it.
ONE_BOARD = PmicCalibration(
    1.1451, 0.5879, math.nan, "date not stated", "a USB-C meter on another's board (RPi5-power)"
)


def rails_w(text: str) -> dict[str, float]:
    """Watts per rail in an answer to pmic_read_adc.

    Raises MeterError for a line that makes no sense, and for a rail with one half missing.
    """
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _LINE.fullmatch(line)
        if match is None:
            fix = FIRMWARE_FIX if line.startswith("error=") else ""
            raise MeterError(f"pmic_read_adc gave a line that makes no sense: {line!r}", fix)
        rail, current, voltage = match.groups()
        if current is None:
            volts[rail] = float(voltage)
        else:
            amperes[rail] = float(current)
    for rail in sorted(amperes.keys() ^ (volts.keys() - VOLTAGE_ONLY)):
        missing = "current" if rail in volts else "voltage"
        raise MeterError(f"pmic_read_adc gave no {missing} of rail {rail}")
    if not amperes:
        raise MeterError(f"pmic_read_adc gave no rail: {text!r}", FIRMWARE_FIX)
    return {rail: current * volts[rail] for rail, current in amperes.items()}


class PiPmicSensor:
    """The rails' sum in watts; with a calibration, the board's input. parts: watts per rail, bare.

    transport: found in open() where None. A rail that later goes missing is an error.
    """

    def __init__(
        self,
        transport: Transport | None = None,
        calibration: PmicCalibration | None = None,
        clock: Callable[[], float] = time.perf_counter,
        root: Path = Path("/"),
    ) -> None:
        self._given = transport
        self._calibration = calibration
        self._clock = clock
        self._root = root
        self._transport: Transport | None = None
        self._rails: frozenset[str] = frozenset()

    @property
    def info(self) -> SensorInfo:
        """What it is: `board rails`, or `board input` if calibrated."""
        calibration = self._calibration
        return SensorInfo(
            id=ID,
            scope="board input" if calibration else "board rails",
            kind="power",
            update_s=UPDATE_S,
            averaging_s=0.0,
            resolution=RESOLUTION_W * (calibration.gain if calibration else 1.0),
            rel_accuracy=math.nan,
            excludes=_excludes(calibration),
            provenance=f"{KNOWN}; {calibration.describe() if calibration else 'not calibrated'}",
        )

    def open(self) -> None:
        """Take the first transport that answers. Raises MeterError of the best one if none does."""
        transports = [self._given] if self._given else find_transports(self._root)
        errors = []
        for transport in transports:
            try:
                self._rails = frozenset(rails_w(transport(COMMAND)))
            except MeterError as error:
                errors.append(error)
            else:
                self._transport = transport
                return
        raise errors[0]

    def read(self) -> Reading:
        """Watts, at the middle of the time that the answer took."""
        if self._transport is None:
            raise MeterError(f"{ID} is not open", "call open() first")
        asked_s = self._clock()
        text = self._transport(COMMAND)
        at_s = (asked_s + self._clock()) / 2
        rails = rails_w(text)
        lost = self._rails - rails.keys()
        if lost:
            raise MeterError(f"pmic_read_adc no longer gives {', '.join(sorted(lost))}")
        watts = sum(rails.values())
        if self._calibration is not None:
            watts = self._calibration.gain * watts + self._calibration.offset_w
        return Reading(at_s, watts=watts, parts=rails)

    def close(self) -> None:
        """Forget the transport; the device is open only while it is read."""
        self._transport = None


def discover(root: Path = Path("/"), calibration: PmicCalibration | None = None) -> list[Found]:
    """The power chip of this host, tried once, or why there is none."""
    return [tried(PiPmicSensor(calibration=calibration, root=root))]


def _excludes(calibration: PmicCalibration | None) -> tuple[str, ...]:
    if calibration is None:
        return (FIVE_VOLTS, "losses of the converters")
    return (f"{FIVE_VOLTS}, beyond what the calibration had",)
