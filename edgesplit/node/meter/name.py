"""How meters are called, as far as it can be said without looking at a host; see choose.py."""

from edgesplit.node.meter.sensor.table import SENSORS, known_sensor

AUTO, MODEL = "auto", "model"


def meter_names() -> tuple[str, ...]:
    """Every word that a meter's name may begin with."""
    return AUTO, MODEL, *SENSORS


def is_meter_name(name: object) -> bool:
    """Whether it is sensors joined by `+`, each a known kind, `-` with more, and `:ARGUMENT`."""
    return isinstance(name, str) and all(map(_is_known, name.split("+")))


def is_read(name: str) -> bool:
    """Whether a meter of that name would read something of a host, or of a device."""
    one = None if "+" in name else known_sensor(name)
    return name not in (AUTO, MODEL) and not (one and one.is_assumed)


def _is_known(part: str) -> bool:
    return part in (AUTO, MODEL) or known_sensor(part) is not None
