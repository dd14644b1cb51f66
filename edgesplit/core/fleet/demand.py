"""The price that makes demand for a shared tier fit what it can give: dual ascent, tier by tier.

A tier that is asked for more than it can give raises its price, one asked for less lowers it, and
who uses it plans with the price as one more additive term. No tier knows another one's demand. At
prices where demand fits, the sum of all scores is the least that those capacities allow, but for
what plans cannot be divided (Lagrangian duality; Bertsekas, Nonlinear Programming, 6.3).
"""

import math
from dataclasses import dataclass

from edgesplit.core.given import is_finite
from edgesplit.errors import ProfileError

# A step grows while the price keeps going one way, and shrinks where it turns (Rprop; Riedmiller
# and Braun 1993): the ascent needs no count of rounds, and follows a change at any time.
_GROW, _SHRINK = 1.1, 0.5
_FIRST_STEP, _LEAST_STEP, _MOST_STEP = 0.4, 0.005, 0.5


@dataclass(frozen=True)
class DemandPrice:
    """One tier's price, as a pressure of load at weight 1: 0 for a tier with room.

    step: by how much its logarithm may change in the next round. was_over: whether the last demand
    was too much.

    Example:
        >>> DemandPrice().after(2.0).value > DemandPrice().after(1.1).value > 0.0
        True
    """

    value: float = 0.0
    step: float = _FIRST_STEP
    was_over: bool = True

    def after(self, demand: float) -> "DemandPrice":
        """The price after a round in which so much was asked for; 1.0: just what the tier can give.

        Raises ProfileError for a demand that is negative or not finite.
        """
        if not (is_finite(demand) and demand >= 0):
            raise ProfileError(f"a demand is a finite number >= 0, given {demand!r}")
        is_over = demand > 1.0
        factor = _GROW if is_over == self.was_over else _SHRINK
        step = min(_MOST_STEP, max(_LEAST_STEP, factor * self.step))
        grown = (1.0 + self.value) * math.exp(step * min(1.0, demand - 1.0))
        return DemandPrice(max(0.0, grown - 1.0), step, is_over)
