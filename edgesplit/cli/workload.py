"""Commands that run a model: plan, run, demo."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesplit.cli.asked_session import AskedSession, asked_session
from edgesplit.cli.data_options import check_data_options, data_options, picture_feed
from edgesplit.cli.options import session_options
from edgesplit.cli.unanswered import Unanswered, none_readable

if TYPE_CHECKING:
    from edgesplit.caller.api import EdgeSplit
    from edgesplit.cli.answers import Picture, Prediction

_SETTLE_S = 20.0  # twice what preparing a plan may take


@click.command()
@click.argument("model")
@click.option("--image", metavar="FILE", help="Plan for this picture instead of random input.")
@click.option(
    "--input-shape", default="1,3,224,224", show_default=True, help="Shape of the random input."
)
@click.option(
    "--batch", type=click.IntRange(1), default=1, show_default=True, help="Inputs per request."
)
@click.option(
    "--compare",
    "is_compared",
    is_flag=True,
    help="Print, instead of S(i, j), what each policy would choose: score, fastest, all on one "
    "tier, and the published ones, with modelled costs and the time that choosing took.",
)
@session_options
def plan(model: str, image: str | None, input_shape: str, batch: int, **options: Any) -> None:
    """Time the tiers, then show where to cut MODEL, and why.

    MODEL is the name of a torchvision classifier, or package.module:callable, which returns a
    module. Prints the chosen plan, the best plan of every other route, and S(i, j): the score of
    each pair of cuts over three tiers.

    \b
    Example: edgesplit plan vgg16 --latency-limit-ms 800 --keep-layers 1
             edgesplit plan mobilenet_v2 --compare
    """
    asked = asked_session(options)
    from edgesplit.cli.answers import example_input, where
    from edgesplit.cli.splits import split_matrix
    from edgesplit.core.cost import CostModel

    _allow_pixels(options)
    x = example_input(image, input_shape, batch)
    with asked.split(asked.model(model)) as split:
        split.infer(x)
        split.wait_for_runtimes()
        split.wait_for_plan(_SETTLE_S)
        explanation, is_emulated = split.explain(), not split.emulation.is_off
        compared = split.compare_policies() if options["is_compared"] else None
        matrix = None
        if len(explanation.profile.tiers) == 3 and (compared is None or options["as_json"]):
            costs = CostModel(split.graph, explanation.profile, asked.goal)
            matrix = split_matrix(costs, explanation.chosen.plan)
        if options["as_json"]:
            found = {"model": model, "emulated": is_emulated, "input_shape": list(x.shape)}
            found |= explanation.as_dict() | {"matrix": matrix.as_dict() if matrix else None}
            found |= {"policies": compared.as_dict()["policies"]} if compared else {}
            click.echo(json.dumps(found, indent=1))
        else:
            click.echo(f"{explanation}\n\n{compared or matrix or ''}\n{where(is_emulated)}")


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1)
@data_options
@session_options
@click.pass_context
def run(ctx: click.Context, /, model: str, images: tuple[str, ...], **options: Any) -> None:
    """Classify the pictures IMAGES, or those of --data, with MODEL, cut across the tiers.

    Prepares each picture as ImageNet classifiers expect: upright, on white, 1x3x224x224. If a
    picture cannot be read, says so, classifies the others, and ends with exit code 1.

    With --data prints a summary: accuracy where the data have labels, latency, joules. A video is
    played at its frame rate. A frame is late after --latency-limit-ms, without it when the next
    one is due. While one is answered, only the newest one waits; the others are dropped.

    \b
    Example: edgesplit run mobilenet_v2 cat.png dog.jpg --weights pretrained
    Example: edgesplit run mobilenet_v2 --data photos --as-layers normalise
    """
    check_data_options(options, bool(images))
    asked = asked_session(options)
    _allow_pixels(options)
    if options["data"] is None:
        ctx.exit(_run_pictures(model, images, asked, options))
    from edgesplit.cli.data_command import run_data

    ctx.exit(run_data(model, asked, picture_feed(options), options))


def _allow_pixels(options: Mapping[str, Any]) -> None:
    if options["max_pixels"] is not None:
        from edgesplit.node.picture.picture_file import allow_pixels

        allow_pixels(options["max_pixels"])


def _run_pictures(
    model: str, images: tuple[str, ...], asked: AskedSession, options: Mapping[str, Any]
) -> int:
    """Returns the exit code."""
    if unread := none_readable(images):
        return _say_unread(model, unread, options)
    from edgesplit.cli.answers import (
        MEANINGLESS,
        Prediction,
        answers_table,
        read_pictures,
        where,
    )

    split = asked.split(asked.model(model))  # what is wrong with it is told first
    outcomes, told = _outcomes(split, read_pictures(images), options)
    answers = [outcome for outcome in outcomes if isinstance(outcome, Prediction)]
    if options["as_json"]:
        rows = [outcome.as_dict() for outcome in outcomes]
        click.echo(json.dumps({"model": model, **told, "images": rows}, indent=1))
    elif answers:
        click.echo(answers_table(answers))
        if options["weights"] == "random":
            click.echo(MEANINGLESS)
        click.echo(f"{where(told['emulated'])}; {told['energy']}")
    for outcome in outcomes:
        if not isinstance(outcome, Prediction):
            click.echo(f"edgesplit: {outcome.error}", err=True)
    return 0 if len(answers) == len(outcomes) else 1


def _say_unread(model: str, unread: Sequence[Unanswered], options: Mapping[str, Any]) -> int:
    if options["as_json"]:
        found = {"model": model, "emulated": None, "energy": None}
        click.echo(json.dumps(found | {"images": [one.as_dict() for one in unread]}, indent=1))
    for one in unread:
        click.echo(f"edgesplit: {one.error}", err=True)
    return 1


def _outcomes(
    split: "EdgeSplit", pictures: Iterator["Picture | Unanswered"], options: Mapping[str, Any]
) -> tuple[list["Prediction | Unanswered"], dict[str, Any]]:
    """What came of each picture, and what there is to say of the session.

    No session is opened where none of the pictures can be read.
    """
    from edgesplit.cli.answers import Picture, checked, classify
    from edgesplit.core.energy.provenance import counted

    outcomes: list[Prediction | Unanswered] = []
    for picture in map(checked, pictures):
        if isinstance(picture, Picture):
            break
        outcomes.append(picture)
    else:
        return outcomes, {"emulated": None, "energy": None}
    with split:
        if options["runtimes"]:
            split.infer(picture.x)
            split.wait_for_runtimes()
        outcomes += classify(split, itertools.chain([picture], pictures))
        is_emulated = not split.emulation.is_off
        energy = counted(split.profile, options["boundary"])
    return outcomes, {"emulated": is_emulated, "energy": energy}


@click.command(short_help="Show three models adapt while a link is throttled.")
@click.option("--out", default="out/demo", show_default=True, help="Folder for the results.")
@click.option("--quick", is_flag=True, help="AlexNet and MobileNetV2 only, with fewer requests.")
@click.option("--requests", type=click.IntRange(8), help="Requests per model and plan.")
@click.option("--models", metavar="NAME,...", help="Other torchvision classifiers.")
@click.option("--no-live", is_flag=True, help="Print plain lines instead of the live view.")
def demo(out: str, quick: bool, requests: int | None, models: str | None, no_live: bool) -> None:
    """Show three models adapt while a link is throttled: a static plan beside an adaptive one.

    The models classify photographs. Everything runs on this machine: tiers and links are emulated,
    energy is modelled. Takes about three minutes on two cores.

    \b
    Example: edgesplit demo --quick --out out/quick
    """
    from dataclasses import replace

    from edgesplit.cli.out import made_folder
    from edgesplit.demo.report import play
    from edgesplit.demo.scenario import QUICK, Scenario

    scenario = QUICK if quick else Scenario()
    if models is not None:
        scenario = replace(scenario, models=tuple(filter(None, models.split(","))))
    if requests is not None:
        scenario = replace(scenario, requests=requests)
    play(scenario, made_folder(Path(out)), is_live=not no_live)
