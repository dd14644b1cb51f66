"""Measures on the user's examples what a codec at a cut costs in accuracy."""

from collections.abc import Callable
from functools import partial
from typing import Any

from edgesplit.caller.accuracy.examples import Batch, Examples
from edgesplit.caller.accuracy.tally import tally_for
from edgesplit.caller.call_arguments import SignatureKey
from edgesplit.core.accuracy import UNKNOWN_LOSS, Loss
from edgesplit.node.codec.payload import decoded, encoded
from edgesplit.node.program.export.model import ExportedModel
from edgesplit.node.program.program import is_random

_Pair = tuple[Any, Any]
_FEWEST = 50  # examples before a codec is given up early


class LossMeter:
    """Of one workload. forms: of its requests.

    run(function): function(), where computing disturbs nobody; raises what ends the measuring.
    """

    def __init__(
        self,
        exported: ExportedModel,
        forms: SignatureKey,
        examples: Examples,
        run: Callable[[Callable[[], _Pair]], _Pair],
    ) -> None:
        self._exported, self._forms, self._examples, self._run = exported, forms, examples, run

    def of_codec(self, cut: int, codec: str, max_loss: float) -> Loss:
        """What writing the payload at that cut in that codec costs.

        Given up as soon as the loss is surely above max_loss. A model that draws random numbers
        has no answer to compare with: its loss stays unknown. Raises InputError where the examples
        are none of this workload's.
        """
        if is_random(self._exported.program):
            return UNKNOWN_LOSS
        tally, loss = None, UNKNOWN_LOSS
        for batch in self._examples.like(self._forms):
            exact, other = self._run(partial(self._both, batch, cut, codec))
            tally = tally or tally_for(self._examples, exact)
            tally.add(exact, other, batch.targets, batch.n_real)
            loss = tally.loss
            if loss.count >= _FEWEST and loss.lower > max_loss:
                break
        return loss

    def _both(self, batch: Batch, cut: int, codec: str) -> _Pair:
        """The model's result, and that with the codec's rounding put in at the cut."""
        program = self._exported.program
        given = self._exported.payload(batch.arguments.leaves)
        payload = program.segment(0, cut)(given)
        rest = program.segment(cut, len(program))
        exact, other = rest(payload), rest(decoded(encoded(payload, codec)))
        return self._exported.unflatten(exact), self._exported.unflatten(other)
