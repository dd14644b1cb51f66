"""What came out of the demo, as values: requests, passes, adaptation times, the summary. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal

from edgesplit.core.plan import Plan

Approach = Literal["static", "adaptive"]
LinkState = Literal["nominal", "throttled", "restored"]
LINK_STATES: tuple[LinkState, ...] = ("nominal", "throttled", "restored")
THROTTLED_LINK = ("edge", "cloud")


@dataclass(frozen=True)
class DemoRequest:
    """One request of a pass. at_s: when it was sent, since the first one of the model.

    plan: the one it was sent on. A failed request has an error and no figures.
    """

    model: str
    approach: Approach
    number: int
    link: LinkState
    photo: str
    at_s: float
    plan: Plan
    latency_s: float | None = None
    end_energy_j: float | None = None
    total_energy_j: float | None = None
    relative_error: float | None = None
    error: str = ""


@dataclass(frozen=True)
class PlanSwitch:
    """Another plan was put in force; at_s since the first request of the model."""

    at_s: float
    old: Plan
    new: Plan
    reason: str


@dataclass(frozen=True)
class Pass:
    """All requests of one approach. changed_s: when the link entered each state."""

    requests: tuple[DemoRequest, ...]
    changed_s: dict[LinkState, float]
    switches: tuple[PlanSwitch, ...]

    def mean(self, figure: str, link: LinkState | None = None) -> float | None:
        """Mean of one figure over the requests that came back; None where none did."""
        chosen = [r for r in self.requests if link is None or r.link == link]
        values = [v for r in chosen if (v := getattr(r, figure)) is not None]
        return fmean(values) if values else None

    def adaptation(self, state: LinkState) -> tuple[float | None, int | None]:
        """(seconds, requests on the old plan) from the link's change to a request on a new plan.

        (None, None) where the plan under nominal conditions does not use the link, so that no
        change was needed, or where no new plan came.
        """
        if not self.uses_link:
            return None, None
        old = next(r.plan for r in reversed(self.requests) if _is_before(r.link, state))
        stretch = [r for r in self.requests if r.link == state]
        for count, request in enumerate(stretch):
            if request.plan != old:
                return request.at_s - self.changed_s[state], count
        return None, None

    @property
    def uses_link(self) -> bool:
        """Whether the plan that met the throttle sends anything over the throttled link."""
        nominal = [r.plan for r in self.requests if r.link == "nominal"]
        return THROTTLED_LINK in pairwise(nominal[-1].route)


@dataclass(frozen=True)
class ModelRun:
    """Both passes of one model, which took turns. open_s: from nothing to the first answer."""

    model: str
    open_s: float
    static: Pass
    adaptive: Pass

    @property
    def requests(self) -> tuple[DemoRequest, ...]:
        """Of both passes, in the order they were sent."""
        both = self.static.requests + self.adaptive.requests
        return tuple(sorted(both, key=lambda request: request.at_s))

    @property
    def failed(self) -> int:
        """Requests that ended in an error."""
        return sum(bool(request.error) for request in self.requests)

    @property
    def max_relative_error(self) -> float | None:
        """The worst difference from model(photo) over both passes."""
        errors = [r.relative_error for r in self.requests if r.relative_error is not None]
        return max(errors, default=None)


def summary(runs: Sequence[ModelRun]) -> dict[str, object]:
    """summary.json: SI units, means over the requests of a pass; all tiers and links emulated."""
    return {
        "emulated": True,
        "energy": "modelled (watts x seconds), marginal boundary",
        "input": "photographs that ship with scikit-image; random weights, seed 0",
        "models": {run.model: _model_summary(run) for run in runs},
    }


def _model_summary(run: ModelRun) -> dict[str, object]:
    throttle, restore = run.adaptive.adaptation("throttled"), run.adaptive.adaptation("restored")
    return {
        "static": _pass_summary(run.static),
        "adaptive": _pass_summary(run.adaptive),
        "requests": len(run.requests),
        "failed": run.failed,
        "max_rel_error": run.max_relative_error,
        "switches": [
            {"at_s": s.at_s, "from": str(s.old), "to": str(s.new), "reason": s.reason}
            for s in run.adaptive.switches
        ],
        "adapt_throttle_s": throttle[0],
        "adapt_throttle_requests": throttle[1],
        "adapt_restore_s": restore[0],
        "adapt_restore_requests": restore[1],
        "uses_throttled_link": run.adaptive.uses_link,
        "static_plan": str(run.static.requests[0].plan),
        "open_s": run.open_s,
    }


def _pass_summary(done: Pass) -> dict[str, object]:
    return {
        "latency_s": done.mean("latency_s"),
        "end_energy_j": done.mean("end_energy_j"),
        "total_energy_j": done.mean("total_energy_j"),
        "requests": len(done.requests),
        "latency_by_link_s": {state: done.mean("latency_s", state) for state in LINK_STATES},
        "link_changed_s": done.changed_s,
    }


def _is_before(link: LinkState, state: LinkState) -> bool:
    return LINK_STATES.index(link) < LINK_STATES.index(state)
