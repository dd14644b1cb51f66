"""What the demo runs: per model a static and an adaptive plan, by turns, over one timeline.

Requests are sent one after another, each photograph on both plans, so that whatever else the
machine does falls on both alike. The edge-cloud link is throttled after a quarter of them and
restored after five eighths. Tiers and links are emulated.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from edgesplit.caller.api import EdgeSplit
from edgesplit.caller.inputs.zoo import check_names, load_model
from edgesplit.config import Config
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan
from edgesplit.core.record import Record
from edgesplit.demo.outcome import (
    THROTTLED_LINK,
    Approach,
    DemoRequest,
    LinkState,
    ModelRun,
    Pass,
    PlanSwitch,
)
from edgesplit.demo.photos import Photo, photos_for, relative_error
from edgesplit.demo.view import Scene, View
from edgesplit.errors import ConfigError, EdgeSplitError
from edgesplit.node.tier.emulate import LinkShape

THROTTLED_BYTES_PER_S = 625_000.0  # 5 Mbit/s
RESTORED_BYTES_PER_S = 40e6
# The photograph itself stays where it was taken: at least one layer runs there.
GOAL = Goal(end_energy=0.6, total_energy=0.2, latency=0.2, min_end_layers=1)
FEWEST_REQUESTS, MOST_REQUESTS = 16, 120  # per plan; the fewest have six on the throttled link
STEADY_S, SETTLE_LIMIT_S = 1.5, 20.0
BELIEF_PERIOD_S = 0.5  # the scheduler is asked for its beliefs no more often
# Of a model's share of the progress bar; the rest is its requests'.
OPEN_SHARE = 0.2


@dataclass(frozen=True)
class Scenario:
    """models: torchvision's names. requests: per plan, None: as many as nominal_s allows."""

    models: tuple[str, ...] = ("vgg16", "alexnet", "mobilenet_v2")
    requests: int | None = None
    nominal_s: float = 6.0

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("the demo needs at least one model, such as --models alexnet")
        if self.requests is not None and self.requests < 8:
            raise ConfigError(f"the demo needs 8 requests per plan or more, given {self.requests}")
        check_names(self.models)

    def count(self, latency_s: float) -> int:
        """Requests per plan for a model that takes `latency_s` under nominal conditions."""
        if self.requests is not None:
            return self.requests
        return max(FEWEST_REQUESTS, min(MOST_REQUESTS, round(self.nominal_s / latency_s)))


QUICK = Scenario(models=("alexnet", "mobilenet_v2"), requests=64)


@dataclass(frozen=True)
class Share:
    """One model's share of the demo, to say how far the whole has come."""

    index: int
    count: int

    def at(self, fraction: float) -> float:
        """The whole demo's fraction when `fraction` of this model's requests are done."""
        return (self.index + OPEN_SHARE + (1 - OPEN_SHARE) * fraction) / self.count


@dataclass(frozen=True)
class _Title:
    """What is being played."""

    model: str
    share: Share


def run(scenario: Scenario, view: View) -> list[ModelRun]:
    """Run every model of the scenario, one after another. Raises EdgeSplitError."""
    runs = []
    for index, name in enumerate(scenario.models):
        share = Share(index, len(scenario.models))
        view.show(Scene(name, "exports, starts its tiers and profiles them", index / share.count))
        runs.append(_run_model(name, scenario, share, view))
    return runs


def _run_model(name: str, scenario: Scenario, share: Share, view: View) -> ModelRun:
    model = load_model(name)
    photos = photos_for(model)
    began_s = time.perf_counter()
    # In one runtime, so that only the link moves the plan. A static plan is shown as slow as it is,
    # not with another tier helping out.
    config = Config(fallback="none", runtimes=("torch",), progress=False)
    with EdgeSplit(model, goal=GOAL, config=config) as split:
        _require_emulated(split)
        split.infer(photos[0].pixels)
        open_s = time.perf_counter() - began_s
        stage = _Stage(split, photos, view, _Title(name, share))
        nominal, latency_s = stage.settle()
        return ModelRun(name, open_s, *stage.play(nominal, scenario.count(latency_s)))


def _require_emulated(split: EdgeSplit) -> None:
    if THROTTLED_LINK not in (split.emulation.links or {}):
        raise ConfigError(
            "the demo throttles an emulated edge-cloud link, but this cluster emulates none; "
            "`unset RAY_ADDRESS` so that the demo starts its own embedded cluster"
        )


class _Stage:
    """One opened model, its photographs and the view: plays both plans on it."""

    def __init__(self, split: EdgeSplit, photos: list[Photo], view: View, title: _Title) -> None:
        self._split = split
        self._photos = photos
        self._view = view
        self._title = title
        self._nominal = split.emulation
        self._zero_s = time.perf_counter()  # of the session's clock; settle() knows better
        self._believed_bytes_per_s: float | None = None
        self._asked_s = 0.0

    def settle(self) -> tuple[Plan, float]:
        """Send requests until the plan stands still; bounded.

        Returns the plan in force and the last request's latency in seconds.
        """
        began_s = since_s = time.perf_counter()
        plan = self._plan
        while (sent_s := time.perf_counter()) < began_s + SETTLE_LIMIT_S:
            self._split.infer(self._photos[0].pixels)
            self._zero_s = sent_s - self._last.at_s
            if self._plan != plan:
                plan, since_s = self._plan, sent_s
            elif sent_s - since_s >= STEADY_S:
                break
        return plan, self._last.latency_s

    def play(self, static: Plan, count: int) -> tuple[Pass, Pass]:
        """`count` requests on the static plan and as many on the one in force, by turns.

        Which of the two is first changes each time.
        """
        began_s = time.perf_counter()
        changed_s: dict[LinkState, float] = {}
        requests: dict[Approach, list[DemoRequest]] = {"static": [], "adaptive": []}
        turns: list[tuple[Approach, Plan | None]] = [("static", static), ("adaptive", None)]
        for number, link in enumerate(_timeline(count)):
            if link not in changed_s:
                self._change(link)
                changed_s[link] = time.perf_counter() - began_s
            photo = self._photos[number % len(self._photos)]
            for approach, plan in turns:
                at_s, on = time.perf_counter() - began_s, plan or self._plan
                request = DemoRequest(
                    self._title.model, approach, number, link, photo.name, at_s, on
                )
                requests[approach].append(self._send(request, photo, plan))
            self._show(requests["adaptive"][-1], (number + 1) / count)
            turns.reverse()
        self._split.emulate(self._nominal)
        return (
            Pass(tuple(requests["static"]), changed_s, ()),
            Pass(tuple(requests["adaptive"]), changed_s, tuple(self._switches(began_s))),
        )

    def _send(self, request: DemoRequest, photo: Photo, plan: Plan | None) -> DemoRequest:
        try:
            if plan is None:
                found = self._split.infer(photo.pixels)
            else:
                found = self._split.infer_on(plan, photo.pixels)
        except EdgeSplitError as error:
            return replace(request, error=str(error))
        record = self._last
        return replace(
            request,
            plan=record.plan,
            latency_s=record.latency_s,
            end_energy_j=record.end_energy_j,
            total_energy_j=record.total_energy_j,
            relative_error=relative_error(found, photo.reference),
        )

    def _change(self, link: LinkState) -> None:
        """Bring the edge-cloud link, both ways, into a state; its latency stays."""
        if link == "nominal":
            self._split.emulate(self._nominal)
            return
        rate = THROTTLED_BYTES_PER_S if link == "throttled" else RESTORED_BYTES_PER_S
        shape = LinkShape(rate, self._link_shape().latency_s)
        self._split.emulate(self._split.emulation.with_link(*THROTTLED_LINK, shape))

    def _link_shape(self) -> LinkShape:
        return (self._split.emulation.links or {})[THROTTLED_LINK]

    def _switches(self, began_s: float) -> Iterator[PlanSwitch]:
        """Plans put in force since `began_s`, a reading of this process's clock."""
        for (_, old, _), (at_s, new, reason) in pairwise(self._split.switches):
            since_s = self._zero_s + at_s - began_s
            if since_s >= 0:
                yield PlanSwitch(since_s, old, new, reason)

    def _show(self, request: DemoRequest, fraction: float) -> None:
        now_s = time.perf_counter()
        if now_s - self._asked_s >= BELIEF_PERIOD_S:
            self._asked_s = now_s
            link = self._split.profile.link(*THROTTLED_LINK)
            self._believed_bytes_per_s = link.bytes_per_s if link else None
        self._view.show(
            Scene(
                request.model,
                f"static and adaptive plan by turns, edge-cloud link {request.link}",
                self._title.share.at(fraction),
                request,
                self._link_shape().bytes_per_s,
                self._believed_bytes_per_s,
            )
        )

    @property
    def _plan(self) -> Plan:
        plan = self._split.plan
        assert plan is not None, "the model was opened with a first request"
        return plan

    @property
    def _last(self) -> Record:
        record = self._split.last_record
        assert record is not None, "the model was opened with a first request"
        return record


def _timeline(count: int) -> Iterator[LinkState]:
    """The link's state at each request of a plan."""
    for number in range(count):
        if number < count // 4:
            yield "nominal"
        else:
            yield "throttled" if number < count * 5 // 8 else "restored"
