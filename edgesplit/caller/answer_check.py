"""Answers of tiers without torch, now and then compared with torch's in the caller's process.

Tiers with torch compare what they have run themselves. See node/runtime/recheck.py for what that
may cost.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from edgesplit.caller.active_workload import ActiveWorkload
from edgesplit.caller.local_fallback import LocalFallback
from edgesplit.cluster.session.session import Session
from edgesplit.cluster.session.verdicts import RuntimeVerdicts
from edgesplit.core.layer_times import TORCH
from edgesplit.core.tier_timing import TierTiming
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.runtime.lossy import judged
from edgesplit.node.runtime.recheck import Failure, Recheck, why_wrong
from edgesplit.node.transport.tensors import copied_values

_TIMEOUT_S = 600.0


class AnswerCheck:
    """Of one session. close() ends its threads, which begin with the first comparison."""

    def __init__(self, session: Session, verdicts: RuntimeVerdicts, wanted: Exactness) -> None:
        self._session, self._verdicts, self._wanted = session, verdicts, wanted
        self._recheck, self._torch = Recheck(), LocalFallback()

    def answered(
        self, workload: ActiveWorkload, given: list[Any], made: list[Any], by: Sequence[TierTiming]
    ) -> None:
        """A request has been answered by these tiers. Returns at once, mostly."""
        tiers = self._session.tiers.without_torch
        asked = [s for s in by if s.tier in tiers and s.runtime != TORCH] if tiers else []
        if asked and self._recheck.is_due(sum(timing.compute_s for timing in asked)):
            # The program may change both from now on.
            kept = copied_values(given), copied_values(made)
            wanted = judged((timing.runtime for timing in by), self._wanted)
            self._recheck.do(partial(self._compare, workload, kept, asked, wanted))

    def close(self) -> None:
        """Compare nothing more."""
        self._torch.close()
        self._recheck.stop()

    def _compare(
        self,
        workload: ActiveWorkload,
        kept: tuple[list[Any], list[Any]],
        asked: list[TierTiming],
        wanted: Exactness,
    ) -> None:
        given, made = kept
        program = workload.shipped.exported.program
        threads = self._session.threads(asked[0].tier)
        reference = partial(self._torch.run, program, given, threads, _TIMEOUT_S)
        for timing in asked:
            what = f"a plan with {timing.runtime} on layers {timing.start}-{timing.stop}"
            if why := why_wrong(what, made, reference, wanted):
                failure = Failure(workload.id, timing.runtime, why)
                self._verdicts.heard(timing.tier, failure)
