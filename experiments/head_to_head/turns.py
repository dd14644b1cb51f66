"""Policies that take turns request by request on a scene, while its links follow a trace.

EdgeSplit has a session of its own, which hears of its own requests only. The others share one: what
they decide from is what they are told in the replay too, and plans that are named are not hedged.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from edgesplit import Config, EdgeSplit, Goal, load_model, parse_plan
from edgesplit.core.layer_times import TORCH
from edgesplit.core.policies.published import PUBLISHED
from edgesplit.core.record import Record
from edgesplit.testbed.rate import rate_text
from experiments.head_to_head.each_request import EachRequest, ToldBefore
from experiments.head_to_head.rows import OURS
from experiments.head_to_head.world import World
from experiments.paper_table.comparison import inputs_for
from experiments.shared.answer import ask
from experiments.shared.repeating import Repeating
from experiments.shared.scene import Scene
from experiments.shared.trace import MBIT, Trace

LEAST_BYTES_PER_S = 0.05 * MBIT  # below, the cluster itself would be cut off
_USUAL_BYTES_PER_S = 40e6
_STEP_S = 1.0  # between two rates


@dataclass(frozen=True)
class Sent:
    """One request of one policy. begun_s: since the trace began. error: empty if it came back.

    computed: of each tier that computed in torch, and its own layers only: name, first layer, the
    one after its last, seconds.
    """

    slot: int
    policy: str
    begun_s: float
    plan: str
    latency_s: float = math.nan
    end_j: float = math.nan
    total_j: float = math.nan
    waited_s: float = 0.0
    hedged: bool = False
    failed_over: bool = False
    error: str = ""
    computed: Sequence[tuple[str, int, int, float]] = ()


class Clock:
    """Seconds since the trace began."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    @property
    def now_s(self) -> float:
        """So many."""
        return time.monotonic() - self._began_s


@dataclass(frozen=True)
class Sessions:
    """ours: adaptive, as users have it. named: for plans that others name."""

    ours: EdgeSplit
    named: EdgeSplit
    x: Any


@contextmanager
def opened(scene: Scene, model: str, goal: Goal) -> Iterator[Sessions]:
    """Both sessions, each of which has answered a request. Raises EdgeSplitError."""
    x = inputs_for(model, "dummy")[0]
    config = replace(scene.config(), fallback="anywhere")
    with ExitStack() as stack:
        found = []
        for share in (Config().hedge, 0.0):
            made = EdgeSplit(
                load_model(model), goal, address=scene.address, config=replace(config, hedge=share)
            )
            split = stack.enter_context(made)
            scene.attach(split)
            split.infer(x)
            found.append(split)
        ours, named = found
        yield Sessions(ours, named, x)


def played(
    scene: Scene,
    sessions: Sessions,
    course: tuple[World, Goal],
    policies: Sequence[str],
    slots: int,
    advance: Callable[[], None],
) -> list[Sent]:
    """So many requests of each policy; in each slot another one is first."""
    world, goal = course
    told = ToldBefore(world)
    drivers = {name: EachRequest(PUBLISHED[name].policy, told, goal) for name in policies}
    sent = list[Sent]()
    with _following(scene, (sessions.ours, sessions.named), world.trace):
        clock = Clock()
        for driver in drivers.values():
            driver.begin(clock)
        for slot in range(slots):
            names = (OURS, *policies)
            first = slot % len(names)
            for name in (*names[first:], *names[:first]):
                begun_s = clock.now_s
                if name == OURS:
                    sent.append(_ours(sessions, slot, begun_s))
                else:
                    sent.append(_named(sessions, drivers[name], (slot, name, begun_s)))
            advance()
    return sent


def _ours(sessions: Sessions, slot: int, begun_s: float) -> Sent:
    answer = ask(sessions.ours, sessions.x)
    return _sent(Sent(slot, OURS, begun_s, answer.plan, error=answer.error), sessions.ours)


def _named(sessions: Sessions, driver: EachRequest, about: tuple[int, str, float]) -> Sent:
    slot, name, begun_s = about
    plan = driver.plan(begun_s)
    answer = ask(sessions.named, sessions.x, parse_plan(str(plan)))
    record = sessions.named.last_record
    if not answer.error and record is not None:
        driver.returned(record.timings)
    return _sent(Sent(slot, name, begun_s, str(plan), error=answer.error), sessions.named)


def _sent(one: Sent, split: EdgeSplit) -> Sent:
    record: Record | None = split.last_record
    if one.error or record is None:
        return one
    return replace(
        one,
        latency_s=record.latency_s,
        end_j=record.end_energy_j,
        total_j=record.total_energy_j,
        waited_s=sum(timing.queue_s for timing in record.timings),
        hedged=record.hedged != "",
        failed_over=record.why != "" and record.hedged == "",
        computed=[
            (timing.tier, timing.start, timing.stop, timing.compute_s)
            for timing in record.timings
            if timing.stop > timing.start and timing.runtime == TORCH
            if not timing.failed_over and not timing.hedged
        ],
    )


@contextmanager
def _following(scene: Scene, sessions: tuple[EdgeSplit, EdgeSplit], trace: Trace) -> Iterator[None]:
    """Hold the entry tier's links to the trace; afterwards they are as usual."""
    profile = sessions[0].profile
    entry = profile.entry_tier
    pairs = [f"{ln.source}-{ln.target}" for ln in profile.links if ln.source == entry]
    began_s = time.monotonic()

    def shape(rate: float) -> None:
        for split in sessions:  # an embedded scene's links are its session's
            scene.attach(split)
            for pair in pairs:
                scene.shape(pair, rate_text(rate))

    def follow() -> None:
        shape(max(LEAST_BYTES_PER_S, trace.rate(time.monotonic() - began_s)))

    try:
        follow()
        with Repeating(follow, _STEP_S, "link-player", first_s=_STEP_S):
            yield
    finally:
        shape(_USUAL_BYTES_PER_S)
