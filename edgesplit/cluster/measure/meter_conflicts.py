"""Which meter each tier is to use, and that no two tiers count the same joules."""

import warnings
from collections.abc import Callable, Mapping

from edgesplit.cluster.ray.placement import Placement
from edgesplit.config import Config
from edgesplit.errors import MeterError
from edgesplit.node.meter.name import AUTO, MODEL, is_read
from edgesplit.node.meter.sensor.table import SENSORS
from edgesplit.node.tier.tier_session import Opened

UseModel = Callable[[str, str], Opened]


class MeterWarning(UserWarning):
    """A meter or a calibration is there but is not used; the message says why."""


def meter_of(tier: str, config: Config, placement: Placement) -> str:
    """The name to open. Raises MeterError where one machine's meter would play three tiers'."""
    name = config.meters.get(tier, AUTO)
    if not placement.is_embedded:
        return name
    if is_read(name):
        assumed = " or ".join(f"`{one.form}`" for one in SENSORS.values() if one.is_assumed)
        raise MeterError(
            f"meter {name!r} of tier {tier!r}: on the embedded cluster one machine plays all "
            "tiers, and its meter cannot tell them apart",
            f"use `{MODEL}` or {assumed}, or a cluster of several machines",
        )
    return MODEL if name == AUTO else name


def own_meters(
    opened: Mapping[str, Opened], named: Mapping[str, str], use_model: UseModel
) -> dict[str, Opened]:
    """The tiers with a meter of their own each; MeterWarning for what was left out.

    Two tiers on one machine would count the same joules twice: where they were not asked for by
    name they go on with the power model, where they were it is a MeterError.
    """
    kept = dict(opened)
    for tiers in _shared(opened):
        names = ", ".join(dict.fromkeys(opened[tier].metering.name for tier in tiers))
        why = f"tiers {' and '.join(tiers)} would read one meter ({names})"
        asked = [tier for tier in tiers if named.get(tier, AUTO) != AUTO]
        if asked:
            raise MeterError(why, "name another meter, or `model`, for all but one of them")
        warnings.warn(f"{why}: their joules are modelled instead", MeterWarning, stacklevel=3)
        kept |= {tier: use_model(tier, f"not metered: {why}") for tier in tiers}
    for tier, one in opened.items():
        for flag in one.metering.flags:
            if flag.startswith(("not calibrated", "not metered")):
                warnings.warn(f"tier {tier!r} is {flag}", MeterWarning, stacklevel=3)
    return kept


def _shared(opened: Mapping[str, Opened]) -> list[list[str]]:
    """Groups of tiers that count the same joules."""
    groups: list[list[str]] = []
    for tier, one in opened.items():
        same = [g for g in groups if any(one.metering.shares(opened[t].metering) for t in g)]
        groups = [g for g in groups if g not in same]
        groups.append([*(t for g in same for t in g), tier])
    return [group for group in groups if len(group) > 1]
