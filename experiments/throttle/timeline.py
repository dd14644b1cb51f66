"""What happened while a link was throttled and restored, as values: requests, changes, adaptation.

Times are seconds since the run began, on the caller's clock. No I/O.

A plan counts as active from the moment at which the caller's next request would use it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from statistics import fmean, median
from typing import Any

from edgesplit import Graph, parse_plan
from experiments.shared.answer import Answer, Figures

Row = dict[str, Any]
NOMINAL, THROTTLED, RESTORED, STEADY = "nominal", "throttled", "restored", "steady"
# Each change: the phase that it begins and the one before it.
DIRECTIONS = {"throttle": (THROTTLED, NOMINAL), "restore": (RESTORED, THROTTLED)}
MOST_S, MOST_REQUESTS = 2.0, 5  # to reach: a median of one or the other


@dataclass(frozen=True)
class Sent:
    """One request."""

    phase: str
    sent_s: float
    answer: Answer


@dataclass(frozen=True)
class Switch:
    """From at_s on, requests use this plan; reason: EdgeSplit's own words."""

    at_s: float
    plan: str
    reason: str


@dataclass(frozen=True)
class Run:
    """Requests one after another. changed_s: when each phase was in force.

    payload_bytes: what each plan sends into the last tier per request, the reply not counted.
    switches: every plan that was active, the first one at the run's beginning. end_s: of the last
    request.
    """

    number: int
    changed_s: Mapping[str, float]
    switches: tuple[Switch, ...]
    payload_bytes: Mapping[str, int]
    requests: tuple[Sent, ...]
    end_s: float

    def plan_at(self, at_s: float) -> str:
        """The plan that was active."""
        return [switch.plan for switch in self.switches if switch.at_s <= at_s][-1]

    def switches_in(self, phase: str) -> list[Switch]:
        """Those after the phase was in force and before the next one was."""
        begin_s = self.changed_s[phase]
        later = [at_s for at_s in self.changed_s.values() if at_s > begin_s]
        return [s for s in self.switches if begin_s < s.at_s <= min(later, default=self.end_s)]

    def sent_in(self, phase: str) -> list[Sent]:
        """The phase's requests."""
        return [sent for sent in self.requests if sent.phase == phase]

    def settled_in(self, phase: str) -> list[Sent]:
        """The phase's requests on its last plan, sent since that was active."""
        switches = self.switches_in(phase)
        since_s = switches[-1].at_s if switches else self.changed_s[phase]
        return [sent for sent in self.sent_in(phase) if sent.sent_s >= since_s]


def payload_into(tier: str, plan: str, graph: Graph) -> int:
    """Bytes that a plan sends into `tier` per request; 0 where it does not go there."""
    entered = [stage.start for stage in parse_plan(plan).stages[1:] if stage.tier == tier]
    return graph.payload_bytes[entered[0]] if entered else 0


def adaptation(run: Run, direction: str) -> Row:
    """How the plan followed one change.

    It follows with the first plan that sends another payload into the last tier; a switch that
    does not has nothing to do with the link. adapt_s: from the change in force to that plan.
    adapt_requests: sent after the change and before the first on such a plan. settle_s: to the
    phase's last switch. All three None where no such plan came.
    Means over requests, None where there was none: *_before, of the settled part of the phase
    before; *_during, of the adapt_requests; *_after, of the settled part of this phase.
    """
    phase, before = DIRECTIONS[direction]
    begin_s, switches = run.changed_s[phase], run.switches_in(phase)
    old = run.plan_at(begin_s)
    new = switches[-1].plan if switches else old
    sizes, sent = run.payload_bytes, run.sent_in(phase)
    follows_s = next((s.at_s for s in switches if sizes[s.plan] != sizes[old]), None)
    during = list(takewhile(lambda one: sizes[one.answer.plan] == sizes[old], sent))
    during = during if follows_s is not None else []
    return {
        "run": run.number,
        "direction": direction,
        "adapt_s": None if follows_s is None else follows_s - begin_s,
        "adapt_requests": None if follows_s is None else len(during),
        "settle_s": None if follows_s is None else switches[-1].at_s - begin_s,
        "switches": len(switches),
        "payload_bytes_before": sizes[old],
        "payload_bytes_after": sizes[new],
        "plan_before": old,
        "plan_after": new,
        **_means("before", run.settled_in(before)),
        **_means("during", during),
        **_means("after", run.settled_in(phase)),
        "requests": len(sent),
        "failed": failures(sent),
    }


def failures(sent: Iterable[Sent]) -> int:
    """Requests that ended in an error."""
    return sum(one.answer.figures is None for one in sent)


def _means(when: str, sent: Sequence[Sent]) -> dict[str, float | None]:
    figures = [one.answer.figures for one in sent if one.answer.figures is not None]
    return {
        f"{name}_{when}": fmean(getattr(f, name) for f in figures) if figures else None
        for name in ("latency_s", "end_energy_j", "total_energy_j")
    }


def medians(rows: Iterable[Row], direction: str) -> dict[str, float | None]:
    """Over the runs; a run in which no plan followed counts as endless. None: endless."""
    own = [row for row in rows if row["direction"] == direction]
    found: dict[str, float | None] = {}
    for name in ("adapt_s", "adapt_requests", "settle_s"):
        middle = median(math.inf if row[name] is None else row[name] for row in own)
        found[name] = middle if math.isfinite(middle) else None
    return found


def targets(rows: Sequence[Row], steady_switches: int, failed: int) -> list[Row]:
    """What was to be reached, and whether it was."""
    found: list[Row] = []
    for direction in DIRECTIONS:
        middle = medians(rows, direction)
        seconds, requests = middle["adapt_s"], middle["adapt_requests"]
        is_soon = seconds is not None and seconds <= MOST_S
        is_few = requests is not None and requests <= MOST_REQUESTS
        told = f"median at most {MOST_S:g} s or {MOST_REQUESTS} requests"
        value = [seconds, requests]
        found.append(_target(f"{direction}: {told}", value, is_soon or is_few))
    found.append(_target("no failed request", failed, failed == 0))
    told = "no switch while the link is steady but noisy"
    found.append(_target(told, steady_switches, steady_switches == 0))
    return found


def _target(target: str, value: object, reached: bool) -> Row:
    return {"target": target, "value": value, "reached": reached}


def request_rows(run: Run, label: str) -> list[Row]:
    """A row per request; figures are None where it failed."""
    return [
        {
            "run": label,
            "phase": one.phase,
            "sent_s": round(one.sent_s, 6),
            "latency_s": figures.latency_s if (figures := one.answer.figures) else None,
            "plan": one.answer.plan,
            "payload_bytes": run.payload_bytes[one.answer.plan],
            "end_energy_j": figures.end_energy_j if figures else None,
            "total_energy_j": figures.total_energy_j if figures else None,
            "why": one.answer.why,
            "hedged": one.answer.hedged,
            "error": one.answer.error,
        }
        for one in run.requests
    ]


def run_of(entry: Mapping[str, Any]) -> Run:
    """The run that dataclasses.asdict() made `entry` of."""
    switches = tuple(Switch(**switch) for switch in entry["switches"])
    requests = tuple(_sent_of(sent) for sent in entry["requests"])
    names = [field.name for field in fields(Run)]
    kept = {name: entry[name] for name in names}
    return Run(**{**kept, "switches": switches, "requests": requests})


def _sent_of(entry: Mapping[str, Any]) -> Sent:
    answer = entry["answer"]
    figures = Figures(**answer["figures"]) if answer["figures"] else None
    return Sent(entry["phase"], entry["sent_s"], Answer(**{**answer, "figures": figures}))
