"""What `edgesplit calibrate` found out about this host, as a JSON file on the host itself.

Watts per phase with their covariance, per sensor; and the gain and offset of the Pi's PMIC. A
calibration of another host is refused.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgesplit.core.power import PHASES, Power
from edgesplit.errors import MeterError, ProfileError
from edgesplit.node.meter.host_state import host_id
from edgesplit.node.meter.sensor.pi_pmic import PmicCalibration

FILE_VARIABLE = "EDGESPLIT_CALIBRATION"
SYSTEM_FILE = Path("/etc/edgesplit/energy.json")
_AGAIN = "run `edgesplit calibrate` again"


@dataclass(frozen=True)
class Calibration:
    """Watts of one host per phase of PHASES, as one of its meters measured them.

    date: ISO 8601. blocks: how many were fitted. is_accuracy_known: whether the covariance holds
    the meter's own accuracy too. state: what host_state said then.
    """

    meter: str
    scope: str
    date: str
    watts: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    blocks: int
    is_accuracy_known: bool = False
    state: Mapping[str, str] = field(default_factory=dict)

    def power(self) -> Power:
        """The watts to plan with."""
        doubt = "" if self.is_accuracy_known else ", ± is repeatability alone"
        compute_w, transmit_w, receive_w, wait_w, idle_w = self.watts
        return Power(
            compute_w,
            transmit_w,
            receive_w,
            wait_w,
            provenance=f"calibrated with {self.meter} on {self.date[:10]}{doubt}",
            idle_w=idle_w,
            scope=self.scope,
            covariance=self.covariance,
        )


@dataclass(frozen=True)
class HostCalibrations:
    """Everything the file holds: phase watts by sensor id, and the PMIC's gain and offset."""

    phases: Mapping[str, Calibration] = field(default_factory=dict)
    pmic: PmicCalibration | None = None


def calibration_file() -> Path:
    """$EDGESPLIT_CALIBRATION, else /etc/edgesplit/energy.json where that can be, else the user's.

    The folder of the system's file is made by `edgesplit node init`.
    """
    named = os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    is_systems = SYSTEM_FILE.exists() or os.access(SYSTEM_FILE.parent, os.W_OK)
    return SYSTEM_FILE if is_systems else Path.home() / ".config/edgesplit/energy.json"


def read_calibrations() -> HostCalibrations:
    """This host's; empty where there is no file.

    Raises MeterError where the file is malformed or comes from another host.
    """
    path = calibration_file()
    try:
        found = json.loads(path.read_text())
        host = found["host"]
        phases = {name: _calibration(entry) for name, entry in found["phases"].items()}
        pmic = PmicCalibration(**found["pmic"]) if found["pmic"] else None
    except FileNotFoundError:
        return HostCalibrations()
    except OSError as error:
        raise MeterError(f"cannot read the calibration {path}: {error.strerror}", _AGAIN) from error
    except (ValueError, TypeError, KeyError, AttributeError, ProfileError) as error:
        raise MeterError(f"{path} is no calibration: {error!r}", f"remove it; {_AGAIN}") from error
    if host != host_id():
        raise MeterError(
            f"the calibration {path} is of another host ({host}; this one is {host_id()})",
            f"remove it; {_AGAIN}",
        )
    return HostCalibrations(phases, pmic)


def write_calibrations(known: HostCalibrations) -> Path:
    """Replace the file; returns its path. Raises MeterError where it cannot be written."""
    path = calibration_file()
    content = {
        "host": host_id(),
        "phases": {name: asdict(entry) for name, entry in known.phases.items()},
        "pmic": asdict(known.pmic) if known.pmic else None,
    }
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(content, indent=1) + "\n")
        beside.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def _cannot_write(path: Path, error: OSError) -> MeterError:
    return MeterError(
        f"cannot write the calibration {path}: {error.strerror}",
        f"name a place that can be written with {FILE_VARIABLE}",
    )


def check_place() -> None:
    """Raise MeterError where write_calibrations() could not write; what is there is kept."""
    path = calibration_file()
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise _cannot_write(path, error) from error


def add_calibration(made: Calibration) -> Path:
    """Put it into this host's file, in place of an older one with the same meter."""
    known = read_calibrations()
    return write_calibrations(replace(known, phases={**known.phases, made.meter: made}))


def _calibration(entry: Mapping[str, Any]) -> Calibration:
    watts = tuple(float(w) for w in entry["watts"])
    rows = tuple(tuple(float(v) for v in row) for row in entry["covariance"])
    if len(watts) != len(PHASES) or not rows:
        raise ValueError(f"watts of {', '.join(PHASES)} with their covariance are expected")
    known = {"meter" if key == "source" else key: value for key, value in entry.items()}  # of 0.1
    made = Calibration(**{**known, "watts": watts, "covariance": rows})
    made.power()  # checks the figures
    return made
