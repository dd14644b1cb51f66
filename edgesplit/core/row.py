"""A row: a tier's seconds per layer under one runtime; and how runtimes are called."""

import math
import re
from dataclasses import dataclass

from edgesplit.errors import ProfileError

# What runs a segment where nothing else is named: the exported graph in eager torch.
TORCH = "torch"
RUNTIME_NAME = r"[A-Za-z0-9_-]+"
NAME_HINT = "use letters, digits, '-' and '_', as in 'onnx'"
_NAME = re.compile(RUNTIME_NAME)


@dataclass(frozen=True)
class Row:
    """Seconds per layer of one tier under one runtime, on the calibrated input.

    source: where the seconds are from. error: the largest relative difference from eager torch on
    the sample input; None: bit-identical, or not compared.
    """

    runtime: str
    layer_s: tuple[float, ...]
    source: str = "given"
    error: float | None = None

    def __post_init__(self) -> None:
        if not is_runtime_name(self.runtime):
            raise ProfileError(f"{self.runtime!r} is no runtime's name; {NAME_HINT}")
        if not all(math.isfinite(s) and s >= 0 for s in self.layer_s):
            raise ProfileError(f"row {self.runtime!r}: layer seconds must be finite and >= 0")
        if self.error is not None and not (math.isfinite(self.error) and self.error >= 0):
            raise ProfileError(
                f"row {self.runtime!r}: error must be finite and >= 0, or None, given {self.error}"
            )

    @property
    def total_s(self) -> float:
        """Seconds of all layers."""
        return sum(self.layer_s)


def is_runtime_name(text: str) -> bool:
    """Whether a runtime can be called so, and a plan's text can name it."""
    return _NAME.fullmatch(text) is not None
