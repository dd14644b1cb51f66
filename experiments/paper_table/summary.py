"""From requests to the rows of the paper table: means, deviations, scores, regret, targets. No I/O.

A row's figures are the mean and the standard deviation over repetitions of a repetition's mean.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from edgesplit import Goal, parse_plan
from experiments.paper_table.approaches import ADAPTIVE, MIDDLE, ORACLE, TRIVIAL, Answers
from experiments.paper_table.oracle import Measured
from experiments.shared.answer import Figures, mean, mean_figures

Row = dict[str, Any]
ENERGY_GAIN, LATENCY_GAIN = 0.36, 0.23
TRIVIAL_MARGIN, ORACLE_MARGIN = 0.02, 0.03
END_ONLY = "end-only"


@dataclass(frozen=True)
class ModelResult:
    """Everything measured of one model. repetitions: one Answers each.

    swept: every plan that the oracle tried, finalists: the best of them measured again; norms:
    all-on-end, measured beside the finalists.
    """

    model: str
    repetitions: tuple[Answers, ...]
    swept: tuple[Measured, ...]
    finalists: tuple[Measured, ...]
    norms: Figures


def rows(result: ModelResult, goal: Goal) -> list[Row]:
    """A row per approach. Raises EdgeSplitError where a repetition has no answer of one."""
    means = {
        name: [mean(answers[name]) for answers in result.repetitions]
        for name in result.repetitions[0]
    }
    norms = mean_figures(means[END_ONLY])
    scores = {name: mean_figures(figures).score(goal, norms) for name, figures in means.items()}
    per_repetition = {
        name: [f.score(goal, norm) for f, norm in zip(figures, means[END_ONLY], strict=True)]
        for name, figures in means.items()
    }
    return [
        {
            "model": result.model,
            "approach": name,
            **_figures(figures),
            "score": scores[name],
            "score_std": _std(per_repetition[name]),
            "plan": _most_used(result, name),
            "runtimes": _runtimes(_most_used(result, name)),
            "regret": scores[name] / scores[ORACLE] - 1,
            **_counts(result, name),
        }
        for name, figures in means.items()
    ]


def _figures(figures: Sequence[Figures]) -> dict[str, float | None]:
    columns = {
        "latency_s": [f.latency_s for f in figures],
        "energy_j": [f.total_energy_j for f in figures],
        "end_energy_j": [f.end_energy_j for f in figures],
    }
    return {
        f"{column}_{suffix}": value
        for column, values in columns.items()
        for suffix, value in (("mean", fmean(values)), ("std", _std(values)))
    }


def _std(values: Sequence[float]) -> float | None:
    """Of a sample; None where there is only one value."""
    return stdev(values) if len(values) > 1 else None


def _most_used(result: ModelResult, name: str) -> str:
    used = Counter(answer.plan for answers in result.repetitions for answer in answers[name])
    return used.most_common(1)[0][0]


def _runtimes(plan: str) -> str:
    """The runtimes of the stages that run something, in route order, each once."""
    return ", ".join(dict.fromkeys(s.runtime for s in parse_plan(plan).stages if len(s)))


def _counts(result: ModelResult, name: str) -> dict[str, int]:
    sent = [answer for answers in result.repetitions for answer in answers[name]]
    return {
        "requests": len(sent),
        "failed": sum(answer.figures is None for answer in sent),
        "plans": len({answer.plan for answer in sent}),
    }


def repetition_rows(result: ModelResult, goal: Goal) -> list[Row]:
    """A row per repetition and approach; the score is relative to end-only of that repetition."""
    found = []
    for number, answers in enumerate(result.repetitions):
        norms = mean(answers[END_ONLY])
        for name, sent in answers.items():
            figures = mean(sent)
            row = {"model": result.model, "approach": name, "repetition": number}
            found.append({**row, **figures_row(figures), "score": figures.score(goal, norms)})
    return found


def request_rows(result: ModelResult) -> list[Row]:
    """A row per counted request; figures are None where it failed."""
    return [
        {
            "model": result.model,
            "repetition": number,
            "round": turn,
            "approach": name,
            "plan": answer.plan,
            **figures_row(answer.figures),
            "error": answer.error,
        }
        for number, answers in enumerate(result.repetitions)
        for name, sent in answers.items()
        for turn, answer in enumerate(sent)
    ]


def oracle_rows(result: ModelResult, goal: Goal) -> list[Row]:
    """A row per plan measured, best first; the finalists' second measurement before all others.

    Scores are relative to all-on-end as it measured beside the finalists.
    """
    listed = [("final", one) for one in result.finalists] + [("all", one) for one in result.swept]
    found: list[Row] = [
        {
            "model": result.model,
            "measured_in": stage,
            "plan": one.plan,
            "requests": one.requests,
            **figures_row(one.figures),
            "score": one.figures.score(goal, result.norms),
        }
        for stage, one in listed
    ]
    return sorted(found, key=lambda row: (row["measured_in"] == "all", row["score"]))


def figures_row(figures: Figures | None) -> dict[str, float | None]:
    """Figures as columns; energy_j is that of all tiers."""
    return {
        "latency_s": figures.latency_s if figures else None,
        "end_energy_j": figures.end_energy_j if figures else None,
        "energy_j": figures.total_energy_j if figures else None,
    }


def changes(rows: Sequence[Row]) -> list[Row]:
    """Adaptive against every other approach of the same model; -0.1 is a tenth less."""
    own = {row["model"]: row for row in rows if row["approach"] == ADAPTIVE}
    columns = ("latency_s_mean", "end_energy_j_mean", "energy_j_mean", "score")
    return [
        {
            "model": row["model"],
            "against": row["approach"],
            **{
                column.removesuffix("_mean"): own[row["model"]][column] / row[column] - 1
                for column in columns
            },
        }
        for row in rows
        if row["approach"] != ADAPTIVE
    ]


def targets(rows: Sequence[Row]) -> list[Row]:
    """What was to be reached, per model, and whether it was."""
    found: list[Row] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        against = {row["against"]: row for row in changes(own)}
        trivial = max(against[name]["score"] for name in TRIVIAL)
        middle = against[MIDDLE]
        for target, value, limit in (
            ("end energy against static-middle", middle["end_energy_j"], -ENERGY_GAIN),
            ("energy of all tiers against static-middle", middle["energy_j"], -ENERGY_GAIN),
            ("latency against static-middle", middle["latency_s"], -LATENCY_GAIN),
            ("score against the best of one tier only", trivial, TRIVIAL_MARGIN),
            ("score against the oracle", against[ORACLE]["score"], ORACLE_MARGIN),
        ):
            reached = bool(value <= limit)
            found.append(
                {"model": model, "target": target, "limit": limit, "value": value}
                | {"reached": reached}
            )
    return found
