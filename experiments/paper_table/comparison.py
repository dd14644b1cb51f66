"""One model's comparison of approaches, measured step by step into a journal and read back from it.

Steps that the journal has already are not repeated: the static plans, each plan that the oracle
tries, its finalists, each repetition.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from edgesplit import EdgeSplit, Goal, Plan, load_model, parse_plan
from edgesplit.demo.photos import photos_for
from edgesplit.errors import ConfigError
from experiments.paper_table.approaches import (
    ADAPTIVE,
    ORACLE,
    Answers,
    Rounds,
    static_plans,
    take_turns,
)
from experiments.paper_table.oracle import (
    FINALISTS,
    Measured,
    best,
    candidates,
    end_only,
    measure,
    scores,
)
from experiments.paper_table.summary import ModelResult
from experiments.shared.answer import Answer, Figures, mean
from experiments.shared.resume import Entry, Journal
from experiments.shared.scene import Scene, session_on

# Steps of one part and how many are done already -> what to call after each further step.
Bars = Callable[[str, int, int], Callable[[], None]]
INPUTS = ("dummy", "photos")
FIRST_REQUESTS = 10  # before the static plans are chosen: they correct the first profile


@dataclass(frozen=True)
class Wanted:
    """What is measured of each model.

    requests: per approach and repetition. oracle: how many plans it tries, None: all.
    oracle_requests, final_rounds: per plan it tries, per finalist. goal: its three weights.
    runtimes: what plans may choose from; empty: as in Config.
    """

    models: tuple[str, ...]
    requests: int
    repetitions: int
    warm_up_rounds: int
    inputs: str
    oracle: int | None
    oracle_requests: int
    final_rounds: int
    goal: tuple[float, float, float]
    runtimes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = (self.requests, self.repetitions, self.oracle_requests, self.final_rounds)
        if not self.models or min(counts) < 1 or self.warm_up_rounds < 0:
            raise ConfigError(f"models and all counts must be at least 1, given {self}")
        if self.oracle is not None and self.oracle < 1:
            raise ConfigError(f"the oracle must try at least 1 plan, given {self.oracle}")
        if self.inputs not in INPUTS:
            raise ConfigError(f"inputs must be one of {', '.join(INPUTS)}, given {self.inputs!r}")


class Comparison:
    """One model of an experiment; measure() fills the journal, result() reads it."""

    def __init__(self, model: str, wanted: Wanted, journal: Journal, bars: Bars) -> None:
        self._model = model
        self._wanted = wanted
        self._goal = Goal(*wanted.goal)
        self._journal = journal
        self._bars = bars

    @property
    def is_complete(self) -> bool:
        """Whether the journal has every repetition."""
        return all(self._has_repetition(k) for k in range(self._wanted.repetitions))

    def measure(self, scene: Scene) -> None:
        """Measure on the scene what the journal lacks. Raises EdgeSplitError."""
        if self.is_complete:
            return
        inputs = inputs_for(self._model, self._wanted.inputs)
        with session_on(scene, self._model, self._goal, self._wanted.runtimes) as split:
            for x in [inputs[0]] * FIRST_REQUESTS:
                split.infer(x)
            split.wait_for_runtimes()  # so that every repetition chooses from the same
            plans: dict[str, Plan | None] = {**self._static_plans(split), ADAPTIVE: None}
            plans[ORACLE] = self._find_oracle(split, inputs)
            self._repeat(split, plans, inputs)

    def result(self) -> ModelResult:
        """All that the journal has of this model."""
        repetitions = sorted(self._all("repetition"), key=lambda e: int(e["repetition"]))
        return ModelResult(
            self._model,
            tuple(_answers(entry["answers"]) for entry in repetitions),
            tuple(_measured(e) for e in self._all("swept")),
            tuple(self._finalists()),
            Figures(*self._one("finalists")["norms"]),
        )

    def provenance(self) -> dict[str, str]:
        """`energy` (modelled or metered) and `boundary` of the joules, as the records have it."""
        entry = self._one("plans")
        return {key: entry[key] for key in ("energy", "boundary")}

    # Steps

    def _static_plans(self, split: EdgeSplit) -> dict[str, Plan]:
        if not self._has("plans"):
            last = split.records().iloc[-1]
            plans = {name: str(plan) for name, plan in static_plans(split).items()}
            energy = last["energy"].replace("measured", "metered")
            self._add("plans", plans=plans, energy=energy, boundary=last["boundary"])
        return {name: parse_plan(text) for name, text in self._one("plans")["plans"].items()}

    def _find_oracle(self, split: EdgeSplit, inputs: Sequence[torch.Tensor]) -> Plan:
        if not self._has("finalists"):
            norms = self._sweep(split, inputs[0])
            found = scores(map(_measured, self._all("swept")), self._goal, norms)
            self._play_final(split, best(found, FINALISTS), inputs)
        return parse_plan(self._finalists()[0].plan)

    def _sweep(self, split: EdgeSplit, x: torch.Tensor) -> Figures:
        """Measure every candidate; returns the all-on-end plan's figures."""
        if not self._has("candidates"):
            limit = self._wanted.oracle
            chosen = candidates(split.graph, split.profile, self._goal, limit)
            self._add("candidates", candidates=list(map(str, chosen)))
        texts = self._one("candidates")["candidates"]
        done = {entry["plan"]: _measured(entry).figures for entry in self._all("swept")}
        advance = self._bars(f"{self._model}: every plan", len(texts), len(done))
        for text in texts:
            if text not in done:
                one = measure(split, parse_plan(text), x, self._wanted.oracle_requests)
                self._add("swept", **_entry(one))
                done[text] = one.figures
                advance()
        return done[str(end_only(split.graph, split.profile))]

    def _play_final(
        self, split: EdgeSplit, names: Sequence[str], inputs: Sequence[torch.Tensor]
    ) -> None:
        """Measure the finalists and all-on-end once more, taking turns; store them, best first."""
        own = end_only(split.graph, split.profile)
        plans = {name: parse_plan(name) for name in [*names, str(own)]}
        rounds = Rounds(self._wanted.warm_up_rounds, self._wanted.final_rounds, (0,))
        total = rounds.warm_up + rounds.count
        advance = self._bars(f"{self._model}: the best plans", total, 0)
        answers = take_turns(split, plans, inputs, rounds, advance)
        figures = {name: mean(sent) for name, sent in answers.items()}
        found = {name: figures[name].score(self._goal, figures[str(own)]) for name in names}
        ranked = [Measured(name, rounds.count, figures[name]) for name in best(found, len(found))]
        norms = _numbers(figures[str(own)])
        self._add("finalists", finalists=[_entry(one) for one in ranked], norms=norms)

    def _repeat(
        self, split: EdgeSplit, plans: Mapping[str, Plan | None], inputs: Sequence[torch.Tensor]
    ) -> None:
        wanted = self._wanted
        missing = [k for k in range(wanted.repetitions) if not self._has_repetition(k)]
        per_repetition = wanted.warm_up_rounds + wanted.requests
        total = wanted.repetitions * per_repetition
        done = total - len(missing) * per_repetition
        advance = self._bars(f"{self._model}: rounds", total, done)
        for number in missing:
            rounds = Rounds(wanted.warm_up_rounds, wanted.requests, (1, number))
            answers = take_turns(split, plans, inputs, rounds, advance)
            kept = {name: _columns(sent) for name, sent in answers.items()}
            self._add("repetition", repetition=number, answers=kept)

    # The journal

    def _add(self, kind: str, **values: Any) -> None:
        self._journal.append({"kind": kind, "model": self._model, **values})

    def _all(self, kind: str) -> Iterator[Entry]:
        return self._journal.find(kind=kind, model=self._model)

    def _one(self, kind: str) -> Entry:
        return next(self._all(kind))

    def _has(self, kind: str) -> bool:
        return self._journal.has(kind=kind, model=self._model)

    def _has_repetition(self, number: int) -> bool:
        return self._journal.has(kind="repetition", model=self._model, repetition=number)

    def _finalists(self) -> list[Measured]:
        return [_measured(entry) for entry in self._one("finalists")["finalists"]]


def inputs_for(model: str, inputs: str) -> list[torch.Tensor]:
    """What is sent: one random 1x3x224x224 tensor of seed 0, or the demo's photographs."""
    if inputs == "photos":
        return [photo.pixels for photo in photos_for(load_model(model))]
    return [torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))]


def _entry(one: Measured) -> Entry:
    return {"plan": one.plan, "requests": one.requests, "figures": _numbers(one.figures)}


def _measured(entry: Entry) -> Measured:
    return Measured(entry["plan"], entry["requests"], Figures(*entry["figures"]))


def _numbers(figures: Figures) -> list[float]:
    """To the nanosecond and nanojoule: further digits only make files large."""
    return [round(x, 9) for x in (figures.latency_s, figures.end_energy_j, figures.total_energy_j)]


def _columns(sent: Sequence[Answer]) -> Entry:
    return {
        "plan": [answer.plan for answer in sent],
        "figures": [_numbers(answer.figures) if answer.figures else None for answer in sent],
        "error": [answer.error for answer in sent],
    }


def _answers(kept: Mapping[str, Entry]) -> Answers:
    return {
        name: [
            Answer(plan, Figures(*figures) if figures else None, error)
            for plan, figures, error in zip(*columns.values(), strict=True)
        ]
        for name, columns in kept.items()
    }
