"""The best plans with payload codecs against the best without, under a floor of accuracy.

    python -m experiments.codecs --out DIR [--quick] [--scene testbed]

Links are held to 5, 20 and 100 Mbit/s. For each rate and goal a session finds its best plan with
what it has measured and may use at 0.5 % loss of accuracy at most; that plan and the best one
without codecs take turns. Then the rates from which a codec stops to pay, predicted and measured.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from edgesplit import EdgeSplit
from edgesplit.caller.accuracy.codec_sizes import EXAMPLES_SIZED
from edgesplit.core.accuracy_loss import expected_loss
from experiments.codecs.break_even import crossings, measured_rate
from experiments.codecs.comparison import FLOOR, GOALS, best_pair, compared, settle, shape_all
from experiments.codecs.picture import draw_codecs
from experiments.shared.options import scene_options
from experiments.shared.plain_errors import plain_errors
from experiments.shared.probed import Probed, probed
from experiments.shared.report import Row, print_rows, progress, write_csv, write_rows
from experiments.shared.resume import Journal
from experiments.shared.scene import Scene, scene_named

MODELS = ("mobilenet_v2", "alexnet", "vgg16")
RATES = ("5Mbit/s", "20Mbit/s", "100Mbit/s")
CROSSINGS = 3  # per model
TARGETS = {
    "mobilenet_v2": {"latency_s_ratio": 0.6, "end_j_ratio": 0.7},
    "alexnet": {"latency_s_ratio": 0.6, "end_j_ratio": 0.7},
    "vgg16": {"latency_s_ratio": 0.5},
}
NEVER_WORSE = 1.02  # of score: what two medians of a busy machine may differ by


@click.command()
@scene_options
@click.option("--quick", is_flag=True, help="AlexNet, two rates, few rounds: to try it out.")
@click.option("--rounds", type=click.IntRange(3), help="Requests per plan. [default: 12, quick 4]")
@plain_errors
def main(
    out: Path, fresh: bool, scene: str, address: str | None, quick: bool, rounds: int | None
) -> None:
    """Measure what codecs save, and from which rate on they do not.

    Writes summary.json, codecs.csv, break_even.csv and codecs.png. Can be interrupted at any time
    and continued by the same command.
    """
    models = MODELS[1:2] if quick else MODELS
    rates = RATES[::2] if quick else RATES
    count = rounds or (4 if quick else 12)
    settings = {"experiment": "codecs", "scene": scene, "models": models, "rates": rates}
    with scene_named(scene, address) as place:
        journal = Journal(out, {**settings, "rounds": count}).open(fresh)
        with progress("codecs", len(models) * (len(rates) * len(GOALS) + CROSSINGS)) as advance:
            for name in models:
                _measure(name, (rates, count), place, journal, advance)
        provenance = place.provenance
    _write(out, scene, provenance, journal)


def _measure(
    name: str,
    wanted: tuple[tuple[str, ...], int],
    place: Scene,
    journal: Journal,
    advance: Callable[[], None],
) -> None:
    """What the journal lacks of one model."""
    rates, rounds = wanted
    known = probed(name, Path("out/probed"))
    config = replace(place.config(), accuracy_checks=0.0)
    goal = GOALS["score"]
    split = EdgeSplit(
        known.model, goal, address=place.address, config=config, examples=known.examples
    )
    with split:
        place.attach(split)
        for rate in rates:
            _at_rate(name, (rate, rounds), (place, split, known), journal, advance)
        sized = [example for example, _ in known.examples[:EXAMPLES_SIZED]]
        _crossings(name, rounds, (place, split, sized), journal, advance)


def _at_rate(
    name: str,
    wanted: tuple[str, int],
    at: tuple[Scene, EdgeSplit, Probed],
    journal: Journal,
    advance: Callable[[], None],
) -> None:
    (rate, rounds), (place, split, known) = wanted, at
    x = known.examples[0][0]
    missing = [goal for goal in GOALS if not journal.has(model=name, rate=rate, goal=goal)]
    split.infer(x)
    if missing:
        shape_all(place, split, rate)
    for goal in missing:
        split.set_goal(GOALS[goal])
        settle(split, x)
        pair = best_pair(split, GOALS[goal])
        row: dict[str, Any] = {"model": name, "rate": rate, "goal": goal}
        row |= compared(split, pair, GOALS[goal], x, rounds)
        row["accuracy"] = known.accuracy
        row["loss_upper"] = expected_loss(pair.with_codecs.plan, pair.profile)
        journal.append({"kind": "row", "model": name, "rate": rate, "goal": goal, "row": row})
        advance()


def _crossings(
    name: str,
    rounds: int,
    at: tuple[Scene, EdgeSplit, list[torch.Tensor]],
    journal: Journal,
    advance: Callable[[], None],
) -> None:
    place, split, inputs = at
    if journal.has(kind="crossings", model=name):
        return
    for crossing in crossings(split, CROSSINGS):
        row = {"model": name, **measured_rate(place, split, inputs, crossing, 2 * rounds)}
        journal.append({"kind": "crossing", "model": name, "row": row})
        advance()
    journal.append({"kind": "crossings", "model": name})


def _write(out: Path, scene: str, provenance: str, journal: Journal) -> None:
    rows: list[Row] = [entry["row"] for entry in journal.find(kind="row")]
    crossed: list[Row] = [entry["row"] for entry in journal.find(kind="crossing")]
    draw_codecs(out / "codecs.png", rows, f"measured, scene {scene}")
    summary = {
        "scene": scene,
        "provenance": provenance,
        "max_accuracy_loss": FLOOR,
        "targets_at_20_mbit": TARGETS,
        "targets_reached": _reached(rows),
        "never_worse": all(row["score_ratio"] <= NEVER_WORSE for row in rows),
        "break_even": crossed,
    }
    write_rows(out, "codecs", rows, summary)
    write_csv(out / "break_even.csv", crossed)
    shown = ["model", "rate", "goal", "plan_with", "plan_without"]
    shown += ["latency_s_ratio", "end_j_ratio", "total_j_ratio", "score_ratio", "loss_upper"]
    print_rows([{key: row[key] for key in shown} for row in rows], f"Codecs ({scene})")
    print_rows(crossed, "Break-even rates, bytes/s")
    click.echo(provenance)
    click.echo(f"targets at 20 Mbit/s: {summary['targets_reached']}")


def _reached(rows: list[Row]) -> dict[str, dict[str, bool]]:
    """By model and figure: latency under the goal of latency, joules under that of the score."""
    found: dict[str, dict[str, bool]] = {}
    for row in rows:
        if row["rate"] != "20Mbit/s":
            continue
        for figure, most in TARGETS[row["model"]].items():
            goal = "latency" if figure == "latency_s_ratio" else "score"
            if row["goal"] == goal:
                found.setdefault(row["model"], {})[figure] = row[figure] <= most
    return found


if __name__ == "__main__":
    main()
