"""Layer times: a tier's seconds per layer in one runtime; and how runtimes are called."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from edgesplit.core.given import is_finite
from edgesplit.errors import ProfileError

# What runs a segment where nothing else is named: the exported graph in eager torch.
TORCH = "torch"
RUNTIME_NAME = r"[A-Za-z0-9_-]+"
NAME_HINT = "use letters, digits, '-' and '_', as in 'onnx'"
_NAME = re.compile(RUNTIME_NAME)


@dataclass(frozen=True)
class LayerTimes:
    """Seconds per layer of one tier under one runtime, on the calibrated input.

    provenance: where the seconds are from. error: the largest relative difference from eager torch
    on the example; None: bit-identical, or not compared. loss: the upper end of what the runtime
    may lose of accuracy, 0.005 for 0.5 %; None: it is not lossy, or its loss is not known.
    """

    runtime: str
    layer_s: tuple[float, ...]
    provenance: str = "given"
    error: float | None = None
    loss: float | None = None

    def __post_init__(self) -> None:
        if not is_runtime_name(self.runtime):
            raise ProfileError(f"{self.runtime!r} is no runtime's name; {NAME_HINT}")
        if not are_seconds(self.layer_s):
            raise ProfileError(
                f"layer times in {self.runtime!r}: layer seconds must be finite and >= 0"
            )
        if self.error is not None and not (is_finite(self.error) and self.error >= 0):
            raise ProfileError(
                f"layer times in {self.runtime!r}: error must be finite and >= 0, or None, "
                f"given {self.error}"
            )
        if self.loss is not None and not (is_finite(self.loss) and self.loss >= 0):
            raise ProfileError(
                f"layer times in {self.runtime!r}: loss must be finite and >= 0, or None, "
                f"given {self.loss}"
            )

    @property
    def total_s(self) -> float:
        """Seconds of all layers."""
        return sum(self.layer_s)


def are_seconds(values: Iterable[float]) -> bool:
    """Whether all are finite and >= 0. Quick: tiers are made anew with each observation."""
    try:
        is_finite_each = isinstance(values, (tuple, list)) and all(map(math.isfinite, values))
        return is_finite_each and min(values, default=0.0) >= 0
    except (TypeError, OverflowError):
        return False


def is_runtime_name(text: object) -> bool:
    """Whether a runtime can be called so, and a plan's text can name it."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None
