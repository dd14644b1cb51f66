"""Runs a range for several payloads at once, and gives each its own payload back.

Whether they are the payloads that single runs give is for whoever makes one to compare. No torch is
imported here unless it is what computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesplit.core.batch_times import BatchTimes
from edgesplit.errors import RequestError, RuntimeUnavailableError
from edgesplit.node.program.batch_forms import BatchForm
from edgesplit.node.runtime.check import Run
from edgesplit.node.runtime.layout import fits, laid_out
from edgesplit.node.transport.tensor_form import TensorForm


@dataclass(frozen=True, eq=False)
class Joint:
    """A range as it runs for any number of requests. given, made: the payloads at its two cuts.

    run: takes the payloads side by side.
    """

    run: Run
    given: tuple[BatchForm, ...]
    made: tuple[BatchForm, ...]

    def __call__(self, payloads: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """What the range makes of each, of one or more; what all share are the same objects.

        Tensors may be parts of the run's: they hold all of it in memory. Raises RequestError for a
        payload of another cut, RuntimeUnavailableError for one of another form, or that differs in
        a value which all requests have to share: run each alone then.
        """
        for payload in payloads:
            self._check(payload)
        columns = zip(self.given, zip(*payloads, strict=True), strict=True)
        together = self.run([_side_by_side(form, values) for form, values in columns])
        parts = [_parts(form, value, len(payloads)) for form, value in self._made(together)]
        return [list(payload) for payload in zip(*parts, strict=True)]

    def _made(self, together: Sequence[Any]) -> list[tuple[BatchForm, Any]]:
        return list(zip(self.made, together, strict=True))

    def _check(self, payload: Sequence[Any]) -> None:
        if len(payload) != len(self.given):
            raise RequestError(
                f"this range takes {len(self.given)} values, given {len(payload)}; the payload "
                "belongs to another cut or program"
            )
        for form, value in zip(self.given, payload, strict=True):
            if not fits(form.one, value):
                raise RuntimeUnavailableError(
                    f"requests are run together that have values like {form.one}, given another "
                    "shape, dtype or number; run it alone"
                )


@dataclass(frozen=True, eq=False)
class Batched(Joint):
    """A range that gains from it, as `times` say; at most `most` payloads at once.

    Example:
        >>> batched = workload.batch(0, 5, "torch")
        >>> first, second = batched([[x], [y]])
    """

    times: BatchTimes

    @property
    def most(self) -> int:
        """More at once were not measured, or gain nothing."""
        return self.times.most


def _side_by_side(form: BatchForm, values: Sequence[Any]) -> Any:
    """One value of every request as the run needs it."""
    first = values[0]
    if not isinstance(form.one, TensorForm):
        return form.number(len(values))
    if form.axis is None:
        if not all(_are_equal(value, first) for value in values[1:]):
            raise RuntimeUnavailableError(
                f"a value like {form.one} has no dimension for several requests, and is not the "
                "same in all of them; run each alone"
            )
        return first
    strides = form.strides(len(values))
    if isinstance(first, np.ndarray):
        return laid_out(np.concatenate(values, form.axis), strides)
    from edgesplit.node.transport.tensors import joined

    return joined(values, form.axis, strides)


def _are_equal(a: Any, b: Any) -> bool:
    """Bit by bit, but for NaN: which is never equal."""
    return a is b or bool((a == b).all())


def _parts(form: BatchForm, value: Any, requests: int) -> list[Any]:
    """Each request's part of what a run has made."""
    one = form.one
    if not isinstance(one, TensorForm):
        return [one] * requests  # a size, and that of one request
    wanted = list(one.shape)
    if form.axis is not None:
        wanted[form.axis] *= requests
    if list(value.shape) != wanted:
        raise RuntimeUnavailableError(
            f"{requests} requests at once give a value of shape {tuple(value.shape)} where "
            f"{tuple(wanted)} was expected; run each alone"
        )
    if form.axis is None:
        return [_laid_out(value, one)] * requests
    size = one.shape[form.axis]
    return [_part(value, form.axis, at * size, one) for at in range(requests)]


def _laid_out(value: Any, form: TensorForm) -> Any:
    """As a part: the whole of it."""
    return _part(value, 0, 0, form) if form.shape else value


def _part(value: Any, axis: int, start: int, form: TensorForm) -> Any:
    if isinstance(value, np.ndarray):
        places = (slice(None),) * axis + (slice(start, start + form.shape[axis]),)
        return laid_out(value[places], form.strides)
    from edgesplit.node.transport.tensors import part

    return part(value, axis, start, form)
