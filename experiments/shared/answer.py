"""What one request of an experiment gave, and means over several."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from edgesplit import EdgeSplit, EdgeSplitError, Goal, Plan
from edgesplit.core.profile import ScoreReference


@dataclass(frozen=True)
class Figures:
    """Seconds and joules of a request, or means over several; joules per the goal's boundary."""

    latency_s: float
    end_energy_j: float
    total_energy_j: float

    def score(self, goal: Goal, score_reference: "Figures | ScoreReference") -> float:
        """The goal's weighted sum, each figure divided by that of the reference (1 for 0)."""
        return (
            goal.end_energy * self.end_energy_j / (score_reference.end_energy_j or 1.0)
            + goal.total_energy * self.total_energy_j / (score_reference.total_energy_j or 1.0)
            + goal.latency * self.latency_s / (score_reference.latency_s or 1.0)
        )


@dataclass(frozen=True)
class Answer:
    """The plan that a request was sent on and its figures, or None and the error it ended in.

    why: what kept it from the plan; hedged: who ran layers twice; as in its record.
    """

    plan: str
    figures: Figures | None
    error: str = ""
    why: str = ""
    hedged: str = ""


def ask(split: EdgeSplit, x: Any, plan: Plan | None = None) -> Answer:
    """Send one request along `plan`; None: along the plan in force, and let EdgeSplit learn."""
    used = plan or split.plan
    try:
        if plan is None:
            split.infer(x)
        else:
            split.infer_on(plan, x)
    except EdgeSplitError as error:
        return Answer(str(used), None, str(error))
    record = split.last_record
    assert record is not None, "a request came back"
    if math.isnan(record.total_energy_j):
        return Answer(str(record.plan), None, "a tier's meter failed during the request")
    figures = Figures(record.latency_s, record.end_energy_j, record.total_energy_j)
    return Answer(str(record.plan), figures, why=record.why, hedged=record.hedged)


def mean(answers: Iterable[Answer]) -> Figures:
    """Means over the requests that came back. Raises EdgeSplitError where none did."""
    answers = list(answers)
    came = [answer.figures for answer in answers if answer.figures is not None]
    if not came:
        last = answers[-1].error if answers else "none was sent"
        raise EdgeSplitError(f"none of {len(answers)} requests came back; the last: {last}")
    return mean_figures(came)


def mean_figures(figures: Iterable[Figures]) -> Figures:
    """Means, figure by figure, of one or more."""
    figures = list(figures)
    return Figures(
        fmean(f.latency_s for f in figures),
        fmean(f.end_energy_j for f in figures),
        fmean(f.total_energy_j for f in figures),
    )
