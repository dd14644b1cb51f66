"""What became of the requests of one policy: what every form of the benchmark hands to the report.

Arrays are (requests,), in the order in which requests came.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.cost import CostModel, Terms

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """latency_s: from its arrival to its answer, waiting included. waited_s: of that, for tiers and
    links. end_j, total_j: joules of the entry tier and of all, what is spent besides requests
    (probes) included in equal parts: besides, both per request. plans: that each took. hedged,
    failed_over: whether it was run twice, or by another tier than planned.
    """

    latency_s: Floats
    end_j: Floats
    total_j: Floats
    waited_s: Floats
    plans: Sequence[str]
    hedged: NDArray[np.bool_]
    failed_over: NDArray[np.bool_]
    besides: tuple[float, float] = (0.0, 0.0)

    @property
    def switches(self) -> int:
        """How often a request took another plan than the one before it."""
        return sum(a != b for a, b in zip(self.plans, self.plans[1:], strict=False))

    def scores(self, model: CostModel) -> Floats:
        """S of each request by the model's goal and its fixed reference; no prices in it."""
        return model.score(Terms(self.latency_s, self.end_j, self.total_j))

    def besides_score(self, model: CostModel) -> float:
        """What of every score is for what is spent besides requests."""
        end_j, total_j = (np.array([joules]) for joules in self.besides)
        return float(model.score(Terms(np.zeros(1), end_j, total_j))[0])
