"""What the user wants: weights of the score, a latency limit, constraints."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgesplit.core.given import is_finite, is_name, is_whole
from edgesplit.core.shown_fields import ShownFields
from edgesplit.errors import GoalError

Boundary = Literal["marginal", "gross"]


@dataclass(frozen=True)
class Goal(metaclass=ShownFields):
    """What plans are chosen for: the weights of the score S, and limits.

    S = end_energy E_end/R_end + total_energy E_total/R_total + latency L/R_latency + price. E are
    joules of a request, L its seconds; R are the values of the plan that runs all layers on the end
    tier. The price is the sum over tiers of (load P_load + temperature P_temperature + memory
    P_memory) C/R_latency: C are the seconds that it computes, P its pressures, 0 for an empty, cool
    host, 1 at the limit (core/fleet/pressure.py).

    end_energy, total_energy, latency: the weights, each >= 0, sum 1.
    load, temperature, memory: the weights of pressures, each >= 0, beside that sum; 0 looks away.
    latency_limit_s: a slower plan is chosen only where no plan is faster.
    probability: with which a request is to be within that limit, from 0.5 to below 1. None: its
        expected latency is to be.
    min_end_layers: layers that stay on the tier that holds the input. With 1 or more the raw input
        never leaves it.
    memory_bytes: by tier, the most bytes of weights of its segment. Tiers left out have no limit.
    max_accuracy_loss: the most accuracy that a plan may cost, such as 0.005 of the examples. None:
        nothing lossy is ever done.
    max_stages: the most tiers that a plan may visit, relays and the entry tier included. None: all.
    boundary: `marginal` charges what a request causes (compute, transmit, receive); `gross` also
        charges the watts of every waiting tier while the request lasts.

    Raises GoalError for a value of the wrong kind or out of range.

    Example:
        >>> Goal(end_energy=0.5, total_energy=0.0, latency=0.5, latency_limit_s=0.2).latency_limit_s
        0.2
    """

    end_energy: float = 0.6
    total_energy: float = 0.2
    latency: float = 0.2
    latency_limit_s: float | None = None
    min_end_layers: int = 0
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    boundary: Boundary = "marginal"
    probability: float | None = None
    load: float = 0.1
    temperature: float = 0.1
    memory: float = 0.1
    max_stages: int | None = None
    max_accuracy_loss: float | None = None

    def __post_init__(self) -> None:
        weights = (self.end_energy, self.total_energy, self.latency)
        text = f"end_energy={weights[0]}, total_energy={weights[1]}, latency={weights[2]}"
        if not all(is_finite(w) and w >= 0 for w in weights):
            raise GoalError(f"weights must be finite numbers >= 0, given {text}")
        if not math.isclose(sum(weights), 1.0, abs_tol=1e-6):
            raise GoalError(
                f"weights must sum to 1, given {text}, which sum to {sum(weights):g}; "
                "divide each by that sum"
            )
        pressed = (self.load, self.temperature, self.memory)
        if not all(is_finite(w) and w >= 0 for w in pressed):
            raise GoalError(
                "weights of pressures must be finite numbers >= 0, given "
                f"load={pressed[0]!r}, temperature={pressed[1]!r}, memory={pressed[2]!r}"
            )
        limit = self.latency_limit_s
        if limit is not None and not (is_finite(limit) and limit > 0):
            raise GoalError(f"latency_limit_s must be seconds above 0 or None, given {limit!r}")
        if not is_whole(self.min_end_layers) or self.min_end_layers < 0:
            raise GoalError(
                f"min_end_layers must be a whole number >= 0, given {self.min_end_layers!r}"
            )
        most = self.max_stages
        if most is not None and not (is_whole(most) and most >= 1):
            raise GoalError(f"max_stages must be a whole number >= 1 or None, given {most!r}")
        loss = self.max_accuracy_loss
        if loss is not None and not (is_finite(loss) and 0 < loss < 1):
            raise GoalError(
                "max_accuracy_loss must be a share above 0 and below 1, such as 0.005, or None, "
                f"given {loss!r}"
            )
        if not isinstance(self.memory_bytes, Mapping) or not all(
            is_name(tier) and is_finite(size) and size >= 0
            for tier, size in self.memory_bytes.items()
        ):
            raise GoalError(f"memory_bytes must be 0 or more per tier, given {self.memory_bytes!r}")
        if not (isinstance(self.boundary, str) and self.boundary in ("marginal", "gross")):
            raise GoalError(f"boundary must be 'marginal' or 'gross', given {self.boundary!r}")
        probability = self.probability
        if probability is not None and not (is_finite(probability) and 0.5 <= probability < 1):
            raise GoalError(
                "probability must be from 0.5 to below 1, such as 0.99, or None, given "
                f"{probability!r}"
            )
        if probability is not None and limit is None:
            raise GoalError(
                f"probability={probability!r} is that of a latency limit; give latency_limit_s too"
            )
