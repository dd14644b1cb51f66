"""Measured joules of one tier between two moments: all of them, and those above an idle device."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgesplit.core.energy.energy import Energy
from edgesplit.core.energy.phase_power import PhasePower
from edgesplit.core.power import Power


@dataclass(frozen=True)
class TierWindow:
    """One tier over `seconds`. gross: all that its meter counted.

    marginal: less what the idle device would have drawn; None where that is not known.
    phases: mean power while it computed, and in between; flagged where the meter is too slow.
    sampling_share: of one core, what reading the meter has cost since it was opened.
    """

    seconds: float
    gross: Energy
    marginal: Energy | None
    phases: Mapping[str, PhasePower]
    sampling_share: float


@dataclass(frozen=True)
class Metered:
    """What a tier's meter measured between two moments: seconds, joules (gross), power per phase.

    sampling_share: as TierWindow has it.
    """

    seconds: float
    energy: Energy
    phases: Mapping[str, PhasePower]
    sampling_share: float = 0.0


def tier_window(said: Metered, power: Power) -> TierWindow:
    """The window's figures. power: with the idle watts."""
    gross = said.energy
    marginal = None
    if power.is_calibrated:
        u_j = math.hypot(gross.u_j, power.u_j({"idle": -said.seconds}))
        joules = gross.joules - power.idle_w * said.seconds
        marginal = replace(gross, boundary="marginal", joules=joules, u_j=u_j)
    return TierWindow(said.seconds, gross, marginal, said.phases, said.sampling_share)
