"""The sensors: one line each. The only place, beside a sensor's own file, that names them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edgesplit.node.meter.sensor import EnergySensor, Found, battery, fixed, hwmon, nvml, rapl
from edgesplit.node.meter.sensor.pi_pmic import ONE_BOARD
from edgesplit.node.meter.sensor.pi_pmic import discover as discover_pmic
from edgesplit.node.meter.sensor.replay import ReplaySensor
from edgesplit.node.meter.sensor.shelly import ShellySensor


@dataclass(frozen=True)
class KnownSensor:
    """A kind of source as meters name it: NAME, NAME-MORE where a host has several, NAME:ARGUMENT.

    discover: those that a host with this sysfs might have, each tried, or what is missing and how
    to mend it. from_argument: the one that an argument means; without, it is the sysfs to look in.
    argument: the word for it in messages. by_name_only: how the ids begin that are not taken
    unless they are named. is_assumed: it reads nothing. is_elsewhere: its argument is its place.
    """

    name: str
    discover: Callable[[Path], list[Found]] | None = None
    from_argument: Callable[[str], EnergySensor] | None = None
    argument: str = ""
    by_name_only: tuple[str, ...] = ()
    is_assumed: bool = False
    is_elsewhere: bool = False

    @property
    def form(self) -> str:
        """How to write it."""
        return f"{self.name}:{self.argument}" if self.argument else self.name


def _by_name(known: Iterable[KnownSensor]) -> dict[str, KnownSensor]:
    return {one.name: one for one in known}


# In the order in which they are looked for and listed.
SENSORS = _by_name([
    KnownSensor("rapl", rapl.discover),
    KnownSensor("hwmon", hwmon.discover, by_name_only=hwmon.BY_NAME_ONLY),
    KnownSensor("battery", battery.discover),
    KnownSensor("pi-pmic", lambda _: discover_pmic(calibration=ONE_BOARD)),
    KnownSensor("nvml", lambda _: nvml.discover(), nvml.from_argument, "GPU,GPU"),
    KnownSensor("fixed", from_argument=fixed.from_argument, argument="WATTS", is_assumed=True),
    KnownSensor("shelly", from_argument=ShellySensor, argument="URL", is_elsewhere=True),
    KnownSensor(
        "replay", from_argument=lambda file: ReplaySensor(Path(file)), argument="FILE.csv",
        is_elsewhere=True,
    ),
])  # fmt: skip


def known_sensor(name: str) -> KnownSensor | None:
    """The kind of the source called `name`, with or without its argument; None where none is."""
    kind = name.partition(":")[0]
    return next((one for one in SENSORS.values() if f"{kind}-".startswith(f"{one.name}-")), None)
