"""The form on a scene: the end tier's links really follow the trace while requests flow.

Approaches take turns: each plays the whole trace, and every turn begins with another one. What is
hedged has a session of its own, beside that of the others; the one that does not play is idle. So
neither hears of the other's requests. Which static and trivial plan, and what clairvoyance would
give, is computed from the measured profile and the traces.
"""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

import numpy as np

from edgesplit import Config, EdgeSplit, Plan, load_model, parse_plan
from edgesplit.errors import EdgeSplitError
from edgesplit.node.transport.wire import LATE
from edgesplit.testbed.rate import rate_text
from experiments.paper_table.comparison import inputs_for
from experiments.shared.answer import Answer, ask
from experiments.shared.repeating import Repeating
from experiments.shared.resume import Journal
from experiments.shared.scene import Scene
from experiments.shared.trace import MBIT, Trace
from experiments.tail.hindsight import chosen_plans
from experiments.tail.replayed import (
    ALL,
    CLAIRVOYANT,
    HEDGE_SHARE,
    HEDGED,
    LATENCY,
    Pace,
    Row,
    figures,
)

LEAST_BYTES_PER_S = 0.05 * MBIT  # below, the cluster itself would be cut off
_STEP_S = 1.0  # between two rates


def with_hedge(config: Config, share: float) -> Config:
    """The config with failover and that share of requests that may be run twice."""
    return replace(config, fallback="anywhere", hedge=share)


@dataclass(frozen=True)
class Played:
    """Requests of one approach over one trace: seconds and joules of those that came back."""

    latency_s: list[float]
    end_energy_j: list[float]
    hedged: int = 0
    hedges_won: int = 0
    taken_back: int = 0
    failed_over: int = 0
    switches: int = 0
    failed: int = 0


def played_by(answers: Sequence[Answer], switches: int) -> Played:
    """What those answers say. Raises EdgeSplitError where no request came back."""
    came = [answer for answer in answers if answer.figures is not None]
    if not came:
        raise EdgeSplitError(f"no request came back; the last: {answers[-1].error}")
    return Played(
        [answer.figures.latency_s for answer in came if answer.figures],
        [answer.figures.end_energy_j for answer in came if answer.figures],
        sum(answer.hedged != "" for answer in came),
        sum("won" in answer.hedged for answer in came),
        sum(answer.why.endswith(LATE) and not answer.hedged for answer in came),
        sum(answer.why != "" and not answer.why.endswith(LATE) for answer in came),
        switches,
        len(answers) - len(came),
    )


def row_of(passes: Iterable[Played]) -> Row:
    """All their requests together."""
    passes = list(passes)
    latency_s = np.array([s for one in passes for s in one.latency_s])
    joules = np.array([j for one in passes for j in one.end_energy_j])
    counts = ("hedged", "hedges_won", "taken_back", "failed_over", "switches", "failed")
    added = {name: sum(getattr(one, name) for one in passes) for name in counts}
    return figures(latency_s, joules) | added


class _Sessions:
    """Of one model on a scene, by the share of requests that may be run twice; opened once used."""

    def __init__(self, scene: Scene, model: str) -> None:
        self._scene, self._model = scene, model
        self._x = inputs_for(model, "dummy")[0]
        self._open: dict[float, EdgeSplit] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "_Sessions":
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def session(self, share: float) -> EdgeSplit:
        """That one, which has answered a request."""
        if share not in self._open:
            config = with_hedge(self._scene.config(), share)
            made = EdgeSplit(
                load_model(self._model), LATENCY, address=self._scene.address, config=config
            )
            split = self._stack.enter_context(made)
            self._scene.attach(split)
            split.infer(self._x)
            self._open[share] = split
        return self._open[share]

    def play(self, trace: Trace, pace: Pace, share: float, plan: Plan | None) -> Played:
        """The whole trace once. plan: of all requests; None: adaptive."""
        split, answers = self.session(share), list[Answer]()
        ask(split, self._x, plan)
        before = len(split.switches)
        links = [link for link in split.profile.links if link.source == split.profile.entry_tier]
        pairs = [f"{link.source}-{link.target}" for link in links]
        at_s = itertools.count(0.0, _STEP_S)

        def shape(rate: float) -> None:
            for pair in pairs:
                self._scene.shape(pair, rate_text(rate))

        def follow() -> None:
            shape(max(LEAST_BYTES_PER_S, trace.rate(next(at_s))))

        try:
            with Repeating(follow, _STEP_S, "link-player"):
                began_s = time.monotonic()
                for due_s in pace.times_s(trace.length_s).tolist():
                    time.sleep(max(0.0, began_s + due_s - time.monotonic()))
                    if time.monotonic() - began_s < trace.length_s:
                        answers.append(ask(split, self._x, plan))
        finally:
            shape(40e6)
        return played_by(answers, len(split.switches) - before)


@dataclass(frozen=True)
class Turns:
    """Which approaches play each trace, at which pace, how often."""

    approaches: tuple[str, ...]
    pace: Pace
    rounds: int = 1

    def in_order(self, traces: Sequence[Trace]) -> Iterator[tuple[int, Trace, str]]:
        """(round, trace, approach), one after another."""
        for number in range(self.rounds):
            for place, trace in enumerate(traces):
                first = (number + place) % len(self.approaches)
                for approach in (*self.approaches[first:], *self.approaches[:first]):
                    yield number, trace, approach


def played(
    scene: Scene, model: str, traces: Sequence[Trace], turns: Turns, journal: Journal
) -> list[Row]:
    """A row per trace and approach, and per approach over all traces.

    What the journal has is not played again.
    """
    with _Sessions(scene, model) as sessions:
        for trace in traces:
            key: Row = {"kind": "plans", "model": model, "trace": trace.name}
            if not journal.has(**key):
                split = sessions.session(0.0)
                found = chosen_plans(split.graph, split.profile, trace, turns.pace)
                journal.append({**key, **found})
        for number, trace, approach in turns.in_order(traces):
            key = {"kind": "pass", "model": model, "trace": trace.name}
            key |= {"round": number, "approach": approach}
            if not journal.has(**key):
                plans = next(journal.find(kind="plans", model=model, trace=trace.name))
                plan = parse_plan(plans[approach]) if approach in plans else None
                share = HEDGE_SHARE if approach == HEDGED else 0.0
                one = sessions.play(trace, turns.pace, share, plan)
                journal.append({**key, "played": asdict(one)})
    return list(_rows(model, [trace.name for trace in traces], turns.approaches, journal))


def _rows(
    model: str, traces: Sequence[str], approaches: Sequence[str], journal: Journal
) -> Iterator[Row]:
    plans = {trace: next(journal.find(kind="plans", model=model, trace=trace)) for trace in traces}
    pools: list[tuple[str, Sequence[str]]] = [(trace, (trace,)) for trace in traces]
    for name, pool in (*pools, *([(ALL, traces)] if len(traces) > 1 else [])):
        about = {"model": model, "trace": name}
        for approach in approaches:
            passes = [
                Played(**entry["played"])
                for trace in pool
                for entry in journal.find(kind="pass", model=model, trace=trace, approach=approach)
            ]
            plan = plans[name].get(approach, "") if name in plans else ""
            yield {**about, "approach": approach, **row_of(passes), "plan": plan}
        least_s = [s for trace in pool for s in plans[trace][CLAIRVOYANT]]
        seen = row_of([Played(least_s, [0.0])]) | {"end_energy_j": None}
        yield {**about, "approach": CLAIRVOYANT, **seen}
