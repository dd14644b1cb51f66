"""What the user wants: weights of the score, a latency limit, constraints."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgesplit.errors import GoalError

Boundary = Literal["marginal", "gross"]


@dataclass(frozen=True)
class Goal:
    """Weights of S = w_end E_end/norm + w_total E_total/norm + w_latency L/norm, and its limits.

    end_energy, total_energy, latency: the weights, each >= 0, sum 1.
    latency_limit_s: plans slower than this are not chosen while a faster one exists.
    min_end_layers: layers that stay on the tier that holds the input, so that raw input never
        leaves it.
    memory_bytes: per tier, the most bytes of weights its segment may need; tiers left out are
        not limited.
    boundary: `marginal` charges the phases a request causes (compute, transmit, receive);
        `gross` also charges every tier's waiting draw for as long as the request lasts.
    """

    end_energy: float = 0.6
    total_energy: float = 0.2
    latency: float = 0.2
    latency_limit_s: float | None = None
    min_end_layers: int = 0
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    boundary: Boundary = "marginal"

    def __post_init__(self) -> None:
        weights = (self.end_energy, self.total_energy, self.latency)
        text = f"end_energy={weights[0]}, total_energy={weights[1]}, latency={weights[2]}"
        if not all(_is_number(w) and w >= 0 for w in weights):
            raise GoalError(f"weights must be finite numbers >= 0, given {text}")
        if not math.isclose(sum(weights), 1.0, abs_tol=1e-6):
            raise GoalError(
                f"weights must sum to 1, given {text}, which sum to {sum(weights):g}; "
                "divide each by that sum"
            )
        limit = self.latency_limit_s
        if limit is not None and not (_is_number(limit) and limit > 0):
            raise GoalError(f"latency_limit_s must be seconds above 0 or None, given {limit!r}")
        if not isinstance(self.min_end_layers, int) or self.min_end_layers < 0:
            raise GoalError(
                f"min_end_layers must be a whole number >= 0, given {self.min_end_layers!r}"
            )
        if not isinstance(self.memory_bytes, Mapping) or not all(
            _is_number(size) and size >= 0 for size in self.memory_bytes.values()
        ):
            raise GoalError(f"memory_bytes must be 0 or more per tier, given {self.memory_bytes!r}")
        if self.boundary not in ("marginal", "gross"):
            raise GoalError(f"boundary must be 'marginal' or 'gross', given {self.boundary!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
