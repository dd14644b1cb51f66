"""Watches what codecs cost on real requests: a few are also run exactly, beside the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgesplit.caller.accuracy.accuracy_benchmark import AccuracyBenchmark
from edgesplit.caller.accuracy.tally import Tally, tally_for
from edgesplit.caller.active_workload import ActiveWorkload
from edgesplit.caller.settled_thread import SettledThread
from edgesplit.cluster.session.session import Session
from edgesplit.core.accuracy import Loss
from edgesplit.core.payload_codec import is_lossy
from edgesplit.core.plan import Plan
from edgesplit.node.transport.tensors import copied_values

_KEPT = 2000  # comparisons after which counting begins anew: drift is of late
_FEWEST = 20  # comparisons before anything is given up


@dataclass(eq=False)
class _Counted:
    tally: Tally
    count: int = 0


class AccuracyWatch:
    """Of one session. share: of requests along lossy plans, that is also run exactly.

    Nobody knows the right answers of requests: what is counted is how often the class differs, or
    how far results are apart. Where that is surely more than the goal grants, the plan's codecs are
    given up.
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
        self._credit, self._is_busy = 0.0, True
        # The program may change both from now on.
        kept = copied_values(given), copied_values(made)
        threads = self._session.threads(self._session.tiers.entry)
        self._computing.submit(partial(self._compare, workload, plan, *kept), threads)

    def loss(self, workload_id: str, plan: Plan) -> Loss | None:
        """What was seen along that plan of late; None: nothing yet."""
        counted = self._counted.get((workload_id, plan))
        return None if counted is None else counted.tally.loss

    def close(self) -> None:
        """Compare nothing more."""
        self._computing.close()

    def _compare(
        self, workload: ActiveWorkload, plan: Plan, given: list[Any], made: list[Any]
    ) -> None:
        try:
            exported = workload.shipped.exported
            program = exported.program
            exact = exported.unflatten(program.segment(0, len(program))(given))
            self._count(workload, plan, exact, exported.unflatten(made))
        finally:
            self._is_busy = False

    def _count(self, workload: ActiveWorkload, plan: Plan, exact: Any, other: Any) -> None:
        counted = self._counted.get((workload.id, plan))
        if counted is None or counted.count >= _KEPT:
            counted = self._counted[workload.id, plan] = _Counted(tally_for(None, exact))
        counted.tally.add(exact, other, (), _rows_of(exact))
        counted.count += 1
        loss, most = counted.tally.loss, workload.goal.max_accuracy_loss
        if most is not None and counted.count >= _FEWEST and loss.lower > most:
            for codec in _lossy(plan):
                why = f"on requests it costs {loss}, over the {most:.2%} that the goal grants"
                self._benchmark.give_up(workload.id, codec, why)


def _lossy(plan: Plan) -> Sequence[str]:
    return [codec for codec in plan.codecs if is_lossy(codec)]


def _rows_of(result: Any) -> int:
    return int(result.shape[0]) if hasattr(result, "shape") and len(result.shape) else 1
