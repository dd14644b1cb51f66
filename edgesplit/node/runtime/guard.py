"""Keeps NaN and infinity away from runtimes that lose them: ONNX Runtime's max-pool drops a NaN.

What they are not judged on they are not given: such a payload is for eager torch. No torch here.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.runtime import Prepared
from edgesplit.node.transport.tensor_form import Forms, TensorForm

_FLOATS = frozenset({"float16", "float32", "float64"})


class Guarded:
    """A prepared range that takes no NaN, and no infinity where it was judged on finite values.

    forms: of the payload at its first cut. name: the runtime's.
    """

    def __init__(self, prepared: Prepared, forms: Forms, name: str) -> None:
        self._prepared, self._name = prepared, name
        self._floats = [
            at
            for at, form in enumerate(forms)
            if isinstance(form, TensorForm) and form.dtype in _FLOATS
        ]
        self._are_finite: frozenset[int] = frozenset()

    @property
    def n_bytes(self) -> int:
        """The range's."""
        return self._prepared.n_bytes

    def judged_on(self, payload: Sequence[Any]) -> None:
        """What is finite in this payload, of the user's example, is to stay so.

        Other values may hold infinities as it does: a mask of 0 and -inf.
        """
        finite = (at for at in self._floats if not _has_extremes(payload[at]))
        self._are_finite = frozenset(finite)

    def takes(self, values: Sequence[Any]) -> bool:
        """Whether the range may be run on them."""
        return not any(
            _has_extremes(values[at]) and (at in self._are_finite or _has_nan(values[at]))
            for at in self._floats[: len(values)]
        )

    def __call__(self, values: Sequence[Any], /) -> list[Any]:
        """The payload at the range's end. Raises as Prepared."""
        if not self.takes(values):
            raise RuntimeUnavailableError(
                f"a payload holds NaN or infinity, which {self._name} may lose; run it in torch"
            )
        return self._prepared(values)


def _has_extremes(value: Any) -> bool:
    """Whether an element is NaN or infinite. One sum over finite elements: some 6 us for 600 KB."""
    if not isinstance(value, np.ndarray):
        return not math.isfinite(value.sum()) and not bool(value.isfinite().all())
    flat = value.ravel(order="K")
    with np.errstate(all="ignore"):
        return not math.isfinite(np.dot(flat, flat)) and not bool(np.isfinite(flat).all())


def _has_nan(value: Any) -> bool:
    return bool((value != value).any())
