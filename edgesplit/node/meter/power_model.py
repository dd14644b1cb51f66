"""The modelled meter: watts of the phase the tier is in, times seconds."""

import time
from collections.abc import Callable
from typing import Literal

from edgesplit.core.profile import Power
from edgesplit.node.meter import Phase


class PowerModelMeter:
    """P x t per phase, the paper's method (12 W for the Pi, arXiv 2605.09623).

    It cannot see that one model keeps a device busier than another; its joules are modelled.
    """

    kind: Literal["modelled", "measured"] = "modelled"

    def __init__(
        self, tier: str, power: Power, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.scope = f"tier {tier}"
        self.source = f"power model ({power.source})"
        self._watts: dict[Phase, float] = {
            "compute": power.compute_w,
            "transmit": power.transmit_w,
            "receive": power.receive_w,
            "wait": 0.0,  # charged by the cost model, in the gross boundary only
        }
        self._clock = clock
        self._phase: Phase = "wait"
        self._since_s = clock()
        self._joules = 0.0

    def enter(self, phase: Phase) -> None:
        """Charge the phase that ends and begin `phase`."""
        now_s = self._clock()
        self._joules += self._watts[self._phase] * (now_s - self._since_s)
        self._phase, self._since_s = phase, now_s

    def read_j(self) -> float:
        """Joules so far, the phase under way included."""
        self.enter(self._phase)
        return self._joules
