"""After the wide link was throttled: move the cut, or compress what crosses it? Which wins.

    python -m experiments.throttle.compress --out DIR [--scene testbed] [--model NAME] [--quick]

A model whose weights were fitted to digits, at most 0.5 % loss of accuracy. The plan that was best
before takes turns with itself compressed, with the best plan that does not compress, and with the
best of all, which EdgeSplit takes.
"""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import click

from edgesplit import EdgeSplit, Goal, Plan
from edgesplit.core.cost import CostModel
from edgesplit.core.payload_codec import AS_IS
from edgesplit.core.planner.choose import choose
from edgesplit.core.profile import Profile
from edgesplit.errors import PlanError
from experiments.codecs.comparison import FLOOR, settle
from experiments.shared.answer import Answer, ask, mean
from experiments.shared.options import scene_options
from experiments.shared.picture import grouped_bars
from experiments.shared.plain_errors import plain_errors
from experiments.shared.probed import Probed, probed
from experiments.shared.report import Row, print_rows, progress, write_rows
from experiments.shared.resume import Journal
from experiments.shared.scene import Scene, scene_named, wide_pairs

NOMINAL, THROTTLED = "40MB/s", "5Mbit/s"
STAY, COMPRESS, MOVE, BEST = "stay", "stay, compressed", "move", "best"
_SHOWN = ("side", "plan", "latency_s", "end_j", "score", "predicted_score")


@dataclass(frozen=True)
class Sides:
    """What there is to do about a slower link, from a plan that was best before."""

    graph_goal: tuple[Any, Goal]
    before: Plan

    def plans(self, profile: Profile) -> dict[str, Plan]:
        """By side, as things are believed now."""
        graph, goal = self.graph_goal
        model = CostModel(graph, profile, goal)
        bare = CostModel(graph, replace(profile, codecs=()), goal)
        return {
            STAY: self.before,
            COMPRESS: self._compressed(model),
            MOVE: choose(bare).plan,
            BEST: choose(model).plan,
        }

    def _compressed(self, model: CostModel) -> Plan:
        """The plan before in the codecs of least score."""
        names = model.coding.names
        coded = (self.before.coded(c) for c in product(names, repeat=len(self.before.cuts)))
        return min(coded, key=lambda plan: _score(model, plan))


def _score(model: CostModel, plan: Plan) -> float:
    try:
        return model.cost(plan).score
    except PlanError:  # a codec that may not be used at that cut
        return float("inf")


@click.command()
@scene_options
@click.option("--model", default="vgg16", show_default=True, help="mobilenet_v2, alexnet or vgg16.")
@click.option("--quick", is_flag=True, help="AlexNet, few rounds: to try it out.")
@click.option("--rounds", type=click.IntRange(2), default=8, show_default=True, help="Of turns.")
@plain_errors
def main(
    out: Path, fresh: bool, scene: str, address: str | None, model: str, quick: bool, rounds: int
) -> None:
    """Measure what is to be done about a throttled link; write compress.csv and compress.png."""
    model, rounds = ("alexnet", 3) if quick else (model, rounds)
    settings = {"experiment": "compress", "scene": scene, "model": model, "rounds": rounds}
    journal = Journal(out, settings).open(fresh)
    with scene_named(scene, address) as place:
        if not journal.has(kind="rows"):
            with progress("compress or move", rounds) as advance:
                rows = _played(place, probed(model, Path("out/probed")), rounds, advance)
            journal.append({"kind": "rows", "rows": rows, "provenance": place.provenance})
    entry = next(journal.find(kind="rows"))
    _write(out, entry["rows"], {**settings, "provenance": entry["provenance"]})


def _played(place: Scene, known: Probed, rounds: int, advance: Any) -> list[Row]:
    goal = Goal(min_end_layers=1, max_accuracy_loss=FLOOR)  # the input itself stays
    config = replace(place.config(), accuracy_checks=0.0)
    x = known.examples[0][0]
    split = EdgeSplit(
        known.model, goal, address=place.address, config=config, examples=known.examples
    )
    with split:
        place.attach(split)
        split.infer(x)
        _shape(place, split, NOMINAL)
        settle(split, x)
        bare = replace(split.profile, codecs=())
        before = choose(CostModel(split.graph, bare, goal)).plan
        _shape(place, split, THROTTLED)
        settle(split, x)
        profile = split.profile
        plans = Sides((split.graph, goal), before).plans(profile)
        answers = _in_turns(split, x, plans, rounds, advance)
        model = CostModel(split.graph, profile, goal)
        reference = model.score_reference
        stay = mean(answers[STAY]).score(goal, reference)
        return [
            {
                "side": side,
                "plan": str(plan),
                "compresses": any(codec != AS_IS for codec in plan.codecs),
                "latency_s": (found := mean(answers[side])).latency_s,
                "end_j": found.end_energy_j,
                "total_j": found.total_energy_j,
                "score": found.score(goal, reference) / stay,
                "predicted_s": model.cost(plan).latency_s,
                "predicted_score": model.cost(plan).score / model.cost(before).score,
            }
            for side, plan in plans.items()
        ]


def _shape(place: Scene, split: EdgeSplit, rate: str) -> None:
    for pair in wide_pairs(split.profile):
        place.shape(pair, rate)


def _in_turns(
    split: EdgeSplit, x: Any, plans: dict[str, Plan], rounds: int, advance: Any
) -> dict[str, list[Answer]]:
    answers: dict[str, list[Answer]] = {side: [] for side in plans}
    for number in range(rounds + 1):
        for side, plan in plans.items():
            answer = ask(split, x, plan)
            if number:  # the first warms up
                answers[side].append(answer)
        advance() if number else None
    return answers


def _write(out: Path, rows: list[Row], about: dict[str, Any]) -> None:
    winner = min(rows, key=lambda row: row["score"])
    told = {**about, "throttled_to": THROTTLED, "from": NOMINAL, "winner": winner["side"]}
    write_rows(out, "compress", rows, told)
    ratios = {
        name: [row[key] / rows[0][key] for row in rows]
        for name, key in (("latency", "latency_s"), ("end joules", "end_j"), ("score", "score"))
    }
    label = f"ratio to `{STAY}`, {about['model']}, wide link at {THROTTLED}"
    grouped_bars(out / "compress.png", [row["side"] for row in rows], ratios, label)
    print_rows([{key: row[key] for key in _SHOWN} for row in rows], "Compress or move")
    click.echo(f"least score: {winner['side']}: {winner['plan']}\n{about['provenance']}")


if __name__ == "__main__":
    main()
