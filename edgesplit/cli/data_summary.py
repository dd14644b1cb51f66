"""What there is to say of a model over a data set: accuracy, latency, joules, frames, plans."""

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edgesplit.caller.data.playback import Playback
from edgesplit.cli.data_run import DataAnswer
from edgesplit.core.energy.energy import Energy, total

_HIGH_SHARE = 0.95


@dataclass
class MeanEnergy:
    """Of several requests. Their uncertainties may have one cause: they are not averaged out."""

    joules: list[float] = field(default_factory=list)
    u_j: list[float] = field(default_factory=list)
    described: Energy | None = None

    def add(self, energy: Energy) -> None:
        """One more; one that is not known does not count."""
        if energy.joules == energy.joules:
            self.joules.append(energy.joules)
            self.u_j.append(energy.u_j)
            self.described = total([self.described, energy]) if self.described else energy

    @property
    def mean(self) -> Energy | None:
        """None where none is known."""
        if self.described is None:
            return None
        joules, u_j = statistics.fmean(self.joules), statistics.fmean(self.u_j)
        return replace(self.described, joules=joules, u_j=u_j)


@dataclass
class DataSummary:
    """What was seen so far; some numbers per answer are kept, and no picture."""

    latencies_s: list[float] = field(default_factory=list)
    labelled: int = 0
    right: int = 0
    n_classes: int = 0
    end_energy: MeanEnergy = field(default_factory=MeanEnergy)
    total_energy: MeanEnergy = field(default_factory=MeanEnergy)
    plans: Counter[str] = field(default_factory=Counter)

    def add(self, answer: DataAnswer) -> None:
        """One more answer."""
        record = answer.prediction.record
        self.latencies_s.append(answer.latency_s)
        self.labelled += answer.label is not None
        self.right += bool(answer.is_right)
        self.n_classes = answer.prediction.n_classes
        self.end_energy.add(record.end_energy)
        self.total_energy.add(record.total_energy)
        self.plans[str(record.plan)] += 1

    @property
    def accuracy(self) -> float | None:
        """Share of the labelled examples whose top class is the label."""
        return self.right / self.labelled if self.labelled else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: seconds, joules per answer. At least one answer is needed."""
        ends = self.end_energy.mean, self.total_energy.mean
        return {
            "answered": len(self.latencies_s),
            "labelled": self.labelled,
            "right": self.right,
            "accuracy": self.accuracy,
            "latency_s": self.latency_s(),
            "end_energy": ends[0].as_dict() if ends[0] else None,
            "total_energy": ends[1].as_dict() if ends[1] else None,
            "plans": dict(self.plans),
        }

    def latency_s(self) -> dict[str, float]:
        """Mean, median, and what 95 of 100 stay within."""
        found = sorted(self.latencies_s)
        high = found[min(len(found) - 1, int(_HIGH_SHARE * len(found)))]
        return {"mean": statistics.fmean(found), "median": statistics.median(found), "p95": high}

    def lines(self) -> list[str]:
        """Of a table without a head. At least one answer is needed."""
        ms = {name: f"{1e3 * seconds:.1f} ms" for name, seconds in self.latency_s().items()}
        lines = []
        if self.accuracy is not None:
            lines += [_line("top-1", f"{self.accuracy:.1%} ({self.right} of {self.labelled})")]
        lines += [
            _line("latency", f"mean {ms['mean']}, median {ms['median']}, 95 % within {ms['p95']}"),
            _line("end energy", f"{_shown(self.end_energy)} per answer"),
            _line("all tiers", f"{_shown(self.total_energy)} per answer"),
        ]
        for plan, count in self.plans.most_common():
            lines.append(_line("plan", f"{plan} ({count} of {len(self.latencies_s)})"))
        return lines


def frames_line(playback: Playback, deadline_s: float, frames_per_s: float) -> str:
    """How a video was kept up with."""
    return _line(
        "frames",
        f"{playback.answered} answered, {playback.late} of them late (after "
        f"{1e3 * deadline_s:.4g} ms), {playback.dropped} dropped, at {frames_per_s:.4g} a second; "
        "the newest frame goes first",
    )


def frames_dict(playback: Playback, deadline_s: float, frames_per_s: float) -> Mapping[str, Any]:
    """The same for JSON."""
    return {
        "frames_per_s": frames_per_s,
        "deadline_s": deadline_s,
        "answered": playback.answered,
        "late": playback.late,
        "dropped": playback.dropped,
    }


def _shown(energy: MeanEnergy) -> str:
    return str(energy.mean) if energy.mean else "not known"


def _line(name: str, text: str) -> str:
    return f"{name:<12}{text}"
