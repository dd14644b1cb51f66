"""Measures on the user's examples what a codec at a cut, or a runtime, costs in accuracy."""

from collections.abc import Callable
from functools import partial
from typing import Any

from edgesplit.caller.accuracy.examples import Batch, Examples
from edgesplit.caller.accuracy.tally import Tally, tally_for
from edgesplit.caller.accuracy.workload_accuracy import MeasuredLoss
from edgesplit.caller.active_workload import ActiveWorkload
from edgesplit.caller.call_arguments import SignatureKey
from edgesplit.core.accuracy import UNKNOWN_LOSS
from edgesplit.node.codec.payload import as_received
from edgesplit.node.program.program import is_random

_Pair = tuple[Any, Any]
# function(), where computing disturbs nobody; raises what ends the measuring.
Compute = Callable[[Callable[[], _Pair]], _Pair]
_FEWEST = 50  # examples before a candidate is given up early


class LossMeter:
    """Of one workload. forms: of its requests. max_loss: a loss surely above it is not measured on.

    A model that draws random numbers has no answer to compare with: its loss stays unknown. All
    raise InputError where the examples are none of this workload's.
    """

    def __init__(
        self, workload: ActiveWorkload, forms: SignatureKey, examples: Examples, max_loss: float
    ) -> None:
        self._exported = workload.shipped.exported
        self._forms, self._examples, self._max_loss = forms, examples, max_loss

    def of_codec(self, cut: int, codec: str, compute: Compute) -> MeasuredLoss:
        """What writing the payload at that cut in that codec costs."""
        program = self._exported.program
        head, rest = program.segment(0, cut), program.segment(cut, len(program))

        def both(given: list[Any]) -> _Pair:
            payload = head(given)
            return rest(payload), rest(as_received(payload, codec))

        return self._measured(both, compute)

    def of_runtime(self, along: Callable[[list[Any]], list[Any]], compute: Compute) -> MeasuredLoss:
        """What all layers in a runtime cost. along: sends a payload at cut 0 there."""
        program = self._exported.program
        whole = program.segment(0, len(program))
        return self._measured(lambda given: (whole(given), along(given)), compute)

    def _measured(self, both: Callable[[list[Any]], _Pair], compute: Compute) -> MeasuredLoss:
        """both: of a payload at cut 0, what is exact at the last cut, and what is not."""
        tallies: tuple[Tally, Tally] | None = None
        if is_random(self._exported.program):
            return MeasuredLoss(UNKNOWN_LOSS, UNKNOWN_LOSS)
        for batch in self._examples.like(self._forms):
            exact, other = compute(partial(self._results, batch, both))
            tallies = tallies or (tally_for(self._examples, exact), tally_for(None, exact))
            for tally in tallies:
                tally.add(exact, other, batch.targets, batch.n_real)
            loss = tallies[0].loss()
            if loss.count >= _FEWEST and loss.lower > self._max_loss:
                return MeasuredLoss(loss, tallies[1].loss(), is_cut_short=True)
        assert tallies is not None, "there is an example"
        tallies[0].check()
        return MeasuredLoss(tallies[0].loss(), tallies[1].loss())

    def _results(self, batch: Batch, both: Callable[[list[Any]], _Pair]) -> _Pair:
        exact, other = both(self._exported.payload(batch.arguments.leaves))
        return self._exported.unflatten(exact), self._exported.unflatten(other)
