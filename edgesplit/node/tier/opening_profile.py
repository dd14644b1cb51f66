"""A workload's layer times when a session opens: kept ones that a short look confirms, else new.

What was measured or confirmed a moment ago on this host, by another tier or session, is not looked
at again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from msgspec.structs import replace

from edgesplit.core.layer_times import TORCH, LayerTimes
from edgesplit.errors import InexactRuntimeError
from edgesplit.node.program.run_slot import Clock, RunSlot
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.runtime.measure import look_at_torch
from edgesplit.node.tier.kept_profiles import KeptTimes
from edgesplit.node.tier.tier_workload import TierWorkload

NEAR = 1.25  # how far the whole run may be from what is kept; runs of a quiet host lie within
FRESH_S = 30.0  # no longer than a session takes to open
_LOOKS = 2  # another program may be in the way for a moment
_USUAL = Exactness()
WholeRun = Callable[[], tuple[float, float | None]]  # seconds of the whole model, its error


@dataclass(frozen=True)
class OpeningProfile:
    """Of one workload on one tier, without emulation; every run in a `turn` of its own."""

    workload: TierWorkload
    run_slot: RunSlot
    clock: Clock = time.perf_counter

    def torch(self, values: Sequence[Any]) -> KeptTimes:
        """Eager torch's on the payload `values`, which stay as the example.

        Raises RuntimeUnavailableError where there is no torch.
        """
        known = self._find(TORCH)
        if known is not None:
            known = self._confirmed(known, partial(self._look_at_torch, values))
        if known is None:
            known = self._kept(
                LayerTimes(TORCH, self.workload.engine.profile(values, self.run_slot))
            )
        self.workload.assume(values, known.times().layer_s)
        return known

    def runtime(self, runtime: str, wanted: Exactness) -> KeptTimes:
        """Those of a runtime that was offered, and how far off it is; after torch() or expect().

        Raises RuntimeUnavailableError where it cannot run the layers well enough.
        """
        if why := self.refusal(runtime, wanted):  # another tier of this host has just found it
            raise InexactRuntimeError(why)
        known = self._find(runtime, wanted)
        try:
            if known is not None:
                look = partial(self.workload.look_at, runtime, wanted, self.run_slot)
                # Without torch no range is compared when it is prepared: the whole has to be, now.
                known = self._confirmed(known, look, self.workload.engine.has_eager)
            if known is None:
                times = self.workload.measure_runtime(runtime, wanted, self.run_slot)
                known = self._kept(times, wanted)
        except InexactRuntimeError as error:
            self._refuse(runtime, wanted, str(error))
            raise
        return known

    def refusal(self, runtime: str, wanted: Exactness) -> str:
        """Why the runtime may not be used, where that was found before; else empty."""
        known = self.workload.kept.find(runtime, self._n_layers)
        is_refused = known is not None and known.refusal and known.is_for(wanted)
        return f"{known.refusal} ({known.provenance})" if known and is_refused else ""

    @property
    def _n_layers(self) -> int:
        return len(self.workload.forms) - 1

    def _find(self, runtime: str, wanted: Exactness = _USUAL) -> KeptTimes | None:
        known = self.workload.kept.find(runtime, self._n_layers)
        return known if known and not known.refusal and known.is_for(wanted) else None

    def _confirmed(
        self, known: KeptTimes, look: WholeRun, is_fresh_enough: bool = True
    ) -> KeptTimes | None:
        """With the seconds of now; None where those are far from what was measured."""
        if is_fresh_enough and self.workload.kept.now_s() - known.checked_s < FRESH_S:
            return known
        for _ in range(_LOOKS):
            whole_s, error = look()
            if 1 / NEAR <= whole_s / known.total_s <= NEAR:
                if error is not None and known.error is not None:
                    error = max(error, known.error)
                now_s = self.workload.kept.now_s()
                return self.workload.kept.keep(
                    replace(known, whole_s=whole_s, error=error, checked_s=now_s)
                )
        return None

    def _kept(self, times: LayerTimes, wanted: Exactness = _USUAL, refusal: str = "") -> KeptTimes:
        now_s = self.workload.kept.now_s()
        return self.workload.kept.keep(
            KeptTimes(
                runtime=times.runtime,
                layer_s=times.layer_s,
                measured_s=now_s,
                checked_s=now_s,
                whole_s=times.total_s,
                error=times.error,
                tolerance=wanted.tolerance,
                exact=wanted.exact,
                refusal=refusal,
            )
        )

    def _refuse(self, runtime: str, wanted: Exactness, why: str) -> None:
        """Keep the verdict, unless what torch gives is from elsewhere and may be another then."""
        self.workload.kept.drop(runtime)
        if self.workload.engine.has_eager:
            self._kept(LayerTimes(runtime, ()), wanted, why)

    def _look_at_torch(self, values: Sequence[Any]) -> tuple[float, None]:
        whole = self.workload.engine.eager(0, self._n_layers)
        return look_at_torch(whole, values, self.run_slot, self.clock), None
