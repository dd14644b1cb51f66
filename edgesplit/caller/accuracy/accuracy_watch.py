"""Watches what codecs cost on real requests: a few are also run exactly, beside the others."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgesplit.caller.accuracy.accuracy_benchmark import AccuracyBenchmark
from edgesplit.caller.accuracy.tally import Tally, tally_for
from edgesplit.caller.accuracy.workload_accuracy import PlanPart
from edgesplit.caller.active_workload import ActiveWorkload
from edgesplit.caller.settled_thread import SettledThread
from edgesplit.cluster.session.session import Session
from edgesplit.core.accuracy import Loss
from edgesplit.core.payload_codec import is_lossy
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.errors import EdgeSplitError
from edgesplit.node.codec.payload import decode
from edgesplit.node.transport.tensors import copied_values

_KEPT = 2000  # comparisons after which counting begins anew: drift is of late
_FEWEST = 20  # comparisons before anything is given up
_PLANS = 64  # that are counted; the one compared longest ago is forgotten
# Standard deviations. Each of the comparisons is a chance to be wrong: with those of 95 %, a codec
# that differs just as much as is borne would be given up in 30 % of the cases, with these in 5 %.
_SURELY = 3.3
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Counted:
    tally: Tally
    count: int = 0


@dataclass(frozen=True, eq=False)
class AnsweredRequest:
    """An answered request: payloads at cut 0 and at the last one. part: of its plan, that loses."""

    workload: ActiveWorkload
    plan: Plan
    part: PlanPart
    given: list[Any]
    made: list[Any]


class AccuracyWatch:
    """Of one session. share: of requests along lossy plans, that is also run exactly.

    Nobody knows the right answers of requests: what is counted is how often the class differs, or
    how far results are apart. Where that is surely more than the goal grants, and than it was on
    the examples, the plan's codec or lossy runtime is given up. Plans that the goal does not grant
    are the user's own, and not watched.
    """

    def __init__(
        self, session: Session, benchmark: AccuracyBenchmark, share: float, flushes_denormals: bool
    ) -> None:
        self._session, self._benchmark = session, benchmark
        self._share, self._credit = share, 1.0
        self._computing = SettledThread("accuracy-watch", flushes_denormals, is_patient=True)
        self._is_busy = False
        self._counted: dict[tuple[str, Plan], _Counted] = {}

    def answered(
        self, workload: ActiveWorkload, plan: Plan, given: list[Any], made: list[Any]
    ) -> None:
        """A request along a lossy plan has been answered. Returns at once, mostly."""
        self._credit = min(1.0, self._credit + self._share)
        if self._credit < 1.0 or self._is_busy:
            return
        part = self._part(workload, plan)
        if part is None:
            return
        # The program may change both from now on.
        kept = AnsweredRequest(workload, plan, part, copied_values(given), copied_values(made))
        self._credit, self._is_busy = 0.0, True
        try:
            threads = self._session.threads(self._session.tiers.entry)
            self._computing.submit(partial(self._compare, kept), threads)
        except EdgeSplitError:  # the request is answered, whatever ends now
            self._is_busy = False

    def loss(self, workload_id: str, plan: Plan) -> Loss | None:
        """What was seen along that plan of late; None: nothing yet."""
        counted = self._counted.get((workload_id, plan))
        return None if counted is None else counted.tally.loss()

    def close(self) -> None:
        """Compare nothing more."""
        self._computing.close()

    def _part(self, workload: ActiveWorkload, plan: Plan) -> PlanPart | None:
        """The one lossy part of a plan that is granted; None: it is not, or has others."""
        parts = list(lossy_parts_of(plan, workload.profile))
        if len(parts) != 1 or self._benchmark.borne(workload.id, parts[0]) is None:
            return None
        return parts[0]

    def _compare(self, kept: AnsweredRequest) -> None:
        try:
            exported = kept.workload.shipped.exported
            program = exported.program
            exact = exported.unflatten(program.segment(0, len(program))(decode(kept.given)))
            self._count(kept, exact, exported.unflatten(kept.made))
        except Exception as error:  # top of the thread's loop: the next one is compared
            _log.warning("a request along %s is not compared: %r", kept.plan, error)
        finally:
            self._is_busy = False

    def _count(self, kept: AnsweredRequest, exact: Any, other: Any) -> None:
        key = kept.workload.id, kept.plan
        counted = self._counted.pop(key, None)
        if counted is None or counted.count >= _KEPT:
            counted = _Counted(tally_for(None, exact))
        self._counted[key] = counted
        while len(self._counted) > _PLANS:
            del self._counted[next(iter(self._counted))]
        counted.tally.add(exact, other, (), _rows_of(exact))
        counted.count += 1
        most = self._benchmark.borne(kept.workload.id, kept.part)
        if most is not None and counted.count >= _FEWEST:
            loss = counted.tally.loss(_SURELY)
            if loss.lower > most:
                why = f"answers of requests differ by {loss} from exact ones, over {most:.2%}"
                self._benchmark.give_up(kept.workload.id, kept.part, why)


def lossy_parts_of(plan: Plan, profile: Profile) -> Iterator[PlanPart]:
    """Codecs with their cuts, and lossy runtimes with their tiers."""
    for codec, cut in zip(plan.codecs, plan.cuts, strict=True):
        if is_lossy(codec):
            yield codec, cut
    for stage in plan.stages:
        if len(stage) and profile.tier(stage.tier).loss_in(stage.runtime) is not None:
            yield stage.runtime, stage.tier


def _rows_of(result: Any) -> int:
    return int(result.shape[0]) if hasattr(result, "shape") and len(result.shape) else 1
