"""What one tier spent on a request: joules of its phases under a boundary, with their uncertainty.

Computing, codecs included, is what the tier's meter counted. Sending, receiving and waiting are
watts x seconds, since no meter knows which request they belong to.
"""

import math
from collections.abc import Mapping

from edgesplit.core.energy.energy import Energy, total
from edgesplit.core.goal import Boundary
from edgesplit.core.profile import Tier
from edgesplit.core.tier_timing import TierTiming

WITH_IDLE = "includes what an idle device draws: not calibrated"
FAILED = "the meter failed during this request"


def spent(
    tier: Tier, timing: TierTiming | None, seconds: Mapping[str, float], boundary: Boundary
) -> Energy:
    """The tier's joules. seconds: transmit, receive and (gross only) wait; timing: its computing.

    The marginal boundary takes off what the device would have drawn anyway.
    """
    computing_s = timing.busy_s if timing is not None else 0.0
    off_s = computing_s + sum(seconds.values()) if boundary == "marginal" else 0.0
    charged = {**seconds, "idle": -off_s}
    if tier.meter.kind == "modelled":
        joules = (timing.energy_j if timing is not None else 0.0) + _joules(tier, charged)
        u_j = tier.power.u_j({**charged, "compute": computing_s})
        return _energy(tier, max(0.0, joules), u_j, boundary)
    links = {**seconds, "idle": -sum(seconds.values()) if boundary == "marginal" else 0.0}
    parts = [_metered(tier, timing, boundary)] if timing is not None else []
    if any(seconds.values()):
        modelled = max(0.0, _joules(tier, links))
        parts.append(_energy(tier, modelled, tier.power.u_j(links), boundary))
    return total(parts) if parts else _energy(tier, 0.0, 0.0, boundary)


def _metered(tier: Tier, timing: TierTiming, boundary: Boundary) -> Energy:
    """What a real meter counted while the timing's segment ran."""
    meter, off = tier.meter, {"idle": -timing.busy_s if boundary == "marginal" else 0.0}
    u_j = math.nan if timing.energy_u_j is None else timing.energy_u_j
    flags = (*meter.flags, FAILED) if math.isnan(timing.energy_j) else meter.flags
    if boundary == "marginal" and not tier.power.is_calibrated:
        flags, off = (*flags, WITH_IDLE), {}
    u_j = math.hypot(u_j, tier.power.u_j(off)) if off else u_j
    joules = timing.energy_j + _joules(tier, off)
    return Energy(joules, u_j, meter.scope, meter.kind, boundary, meter.provenance, flags)


def _energy(tier: Tier, joules: float, u_j: float, boundary: Boundary) -> Energy:
    power, flags = tier.power, tier.meter.flags if tier.meter.kind == "modelled" else ()
    return Energy(joules, u_j, power.scope, "modelled", boundary, power.provenance, flags)


def _joules(tier: Tier, seconds: Mapping[str, float]) -> float:
    power = tier.power
    watts = {
        "transmit": power.transmit_w,
        "receive": power.receive_w,
        "wait": power.wait_w,
        "idle": power.idle_w,
    }
    return sum(watts[phase] * s for phase, s in seconds.items())
