"""What the demo runs: per model a static and an adaptive pass over one timeline of the link.

Requests are sent one after another. The edge-cloud link is throttled after a quarter of them and
restored after five eighths. Tiers and links are emulated.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from edgesplit.api import EdgeSplit
from edgesplit.config import Config
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan
from edgesplit.core.record import Record
from edgesplit.demo.outcome import (
    THROTTLED_LINK,
    Approach,
    LinkState,
    ModelRun,
    Pass,
    Request,
    Switch,
)
from edgesplit.demo.photos import Photo, photos_for, relative_error
from edgesplit.demo.view import Scene, View
from edgesplit.errors import ConfigError, EdgeSplitError
from edgesplit.node.emulate import LinkShape
from edgesplit.node.zoo import load_model

THROTTLED_BYTES_PER_S = 625_000.0  # 5 Mbit/s
RESTORED_BYTES_PER_S = 40e6
# The photograph itself stays where it was taken: at least one layer runs there.
GOAL = Goal(end_energy=0.6, total_energy=0.2, latency=0.2, min_end_layers=1)
FEWEST_REQUESTS, MOST_REQUESTS = 20, 240  # per pass; the fewest have seven on the throttled link
STEADY_S, SETTLE_LIMIT_S = 1.5, 20.0
BELIEF_PERIOD_S = 0.5  # the scheduler is asked for its beliefs no more often
# Where each part of a model's share of the progress bar begins; it ends at 1.
BEGINS = {"open": 0.0, "static": 0.2, "adaptive": 0.6}
PASS_SHARE = 0.4


@dataclass(frozen=True)
class Scenario:
    """models: torchvision's names. requests: per pass, None: as many as nominal_s allows."""

    models: tuple[str, ...] = ("vgg16", "alexnet", "mobilenet_v2")
    requests: int | None = None
    nominal_s: float = 8.0

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("the demo needs at least one model, such as --models alexnet")
        if self.requests is not None and self.requests < 8:
            raise ConfigError(f"the demo needs 8 requests per pass or more, given {self.requests}")

    def count(self, latency_s: float) -> int:
        """Requests per pass for a model that takes `latency_s` under nominal conditions."""
        if self.requests is not None:
            return self.requests
        return max(FEWEST_REQUESTS, min(MOST_REQUESTS, round(self.nominal_s / latency_s)))


QUICK = Scenario(models=("alexnet", "mobilenet_v2"), requests=64)


@dataclass(frozen=True)
class Share:
    """One model's share of the demo, to say how far the whole has come."""

    index: int
    count: int

    def at(self, part: str, fraction: float) -> float:
        """The whole demo's fraction when `fraction` of this model's `part` is done."""
        return (self.index + BEGINS[part] + PASS_SHARE * fraction) / self.count


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
        view.show(Scene(name, "exports, starts its tiers and profiles them", share.at("open", 0)))
        runs.append(_run_model(name, scenario, share, view))
    return runs


def _run_model(name: str, scenario: Scenario, share: Share, view: View) -> ModelRun:
    model = load_model(name)
    photos = photos_for(model)
    began_s = time.perf_counter()
    # In one runtime, so that only the link moves the plan. A static plan is shown as slow as it is,
    # not with another tier helping out.
    config = Config(finish="planned", runtimes=("torch",))
    with EdgeSplit(model, goal=GOAL, config=config) as split:
        _require_emulated(split)
        split.infer(photos[0].pixels)
        open_s = time.perf_counter() - began_s
        stage = _Stage(split, photos, view, _Title(name, share))
        nominal, latency_s = stage.settle(None)
        count = scenario.count(latency_s)
        static = stage.play("static", nominal, count)
        stage.settle(nominal)
        return ModelRun(name, open_s, static, stage.play("adaptive", None, count))


def _require_emulated(split: EdgeSplit) -> None:
    if THROTTLED_LINK not in (split.emulation.links or {}):
        raise ConfigError(
            "the demo throttles an emulated edge-cloud link, but this cluster emulates none; "
            "`unset RAY_ADDRESS` so that the demo starts its own embedded cluster"
        )


class _Stage:
    """One opened model, its photographs and the view: plays passes on it."""

    def __init__(self, split: EdgeSplit, photos: list[Photo], view: View, title: _Title) -> None:
        self._split = split
        self._photos = photos
        self._view = view
        self._title = title
        self._nominal = split.emulation
        self._zero_s = time.perf_counter()  # of the session's clock; settle() knows better
        self._believed_bytes_per_s: float | None = None
        self._asked_s = 0.0

    def settle(self, target: Plan | None) -> tuple[Plan, float]:
        """Send requests until the plan stands still, on `target` if given; bounded.

        Returns the plan in force and the last request's latency in seconds.
        """
        began_s = since_s = time.perf_counter()
        plan = self._plan
        while (sent_s := time.perf_counter()) < began_s + SETTLE_LIMIT_S:
            self._split.infer(self._photos[0].pixels)
            self._zero_s = sent_s - self._last.at_s
            if self._plan != plan:
                plan, since_s = self._plan, sent_s
            elif sent_s - since_s >= STEADY_S and target in (None, plan):
                break
        return plan, self._last.latency_s

    def play(self, approach: Approach, plan: Plan | None, count: int) -> Pass:
        """One pass of `count` requests on `plan`, or, None, on the plan in force at the time."""
        began_s = time.perf_counter()
        changed_s: dict[LinkState, float] = {}
        requests = []
        for number, link in enumerate(_timeline(count)):
            if link not in changed_s:
                self._change(link)
                changed_s[link] = time.perf_counter() - began_s
            photo = self._photos[number % len(self._photos)]
            at_s = time.perf_counter() - began_s
            request = Request(
                self._title.model, approach, number, link, photo.name, at_s, plan or self._plan
            )
            requests.append(self._send(request, photo, plan))
            self._show(requests[-1], (number + 1) / count)
        self._split.emulate(self._nominal)
        switches = tuple(self._switches(began_s)) if plan is None else ()
        return Pass(tuple(requests), changed_s, switches)

    def _send(self, request: Request, photo: Photo, plan: Plan | None) -> Request:
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

    def _switches(self, began_s: float) -> Iterator[Switch]:
        """Plans put in force since `began_s`, a reading of this process's clock."""
        for (_, old, _), (at_s, new, reason) in pairwise(self._split.switches()):
            since_s = self._zero_s + at_s - began_s
            if since_s >= 0:
                yield Switch(since_s, old, new, reason)

    def _show(self, request: Request, fraction: float) -> None:
        now_s = time.perf_counter()
        if now_s - self._asked_s >= BELIEF_PERIOD_S:
            self._asked_s = now_s
            link = self._split.profile().link(*THROTTLED_LINK)
            self._believed_bytes_per_s = link.bytes_per_s if link else None
        self._view.show(
            Scene(
                request.model,
                f"{request.approach} plan, edge-cloud link {request.link}",
                self._title.share.at(request.approach, fraction),
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
        record = self._split.last_record()
        assert record is not None, "the model was opened with a first request"
        return record


def _timeline(count: int) -> Iterator[LinkState]:
    """The link's state at each request of a pass."""
    for number in range(count):
        if number < count // 4:
            yield "nominal"
        else:
            yield "throttled" if number < count * 5 // 8 else "restored"
