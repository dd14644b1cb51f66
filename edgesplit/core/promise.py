"""A promised deadline: what was promised, what is expected, and how often it was met."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """A goal's latency limit with its probability, against what came of it.

    expected_s: the latency that the plan in force is not expected to exceed with that probability.
    met: of the requests since the goal was set, those within the limit.
    """

    probability: float
    limit_s: float
    expected_s: float
    met: int
    requests: int

    def __str__(self) -> str:
        return (
            f"promised {self.probability:g} within {self.limit_s * 1e3:g} ms; expected quantile "
            f"{self.expected_s * 1e3:.1f} ms; met {self.met} of {self.requests}"
        )
