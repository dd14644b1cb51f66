"""Commands that run a model: plan, run, demo."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edgesplit.api import EdgeSplit
    from edgesplit.core.goal import Goal

EMULATED = "tiers and links are emulated"
_Command = TypeVar("_Command", bound=Callable[..., Any])


_GOAL = (
    click.option(
        "--end-energy", default=0.6, show_default=True, help="Weight of the end's energy."
    ),
    click.option("--total-energy", default=0.2, show_default=True, help="Weight of all energy."),
    click.option("--latency", default=0.2, show_default=True, help="Weight of latency."),
    click.option("--latency-limit-ms", type=float, help="Slower plans are avoided (milliseconds)."),
    click.option(
        "--keep-layers", default=0, show_default=True, help="Layers kept on the end tier."
    ),
    click.option(
        "--boundary",
        type=click.Choice(["marginal", "gross"]),
        default="marginal",
        show_default=True,
        help="Energy of a request's own phases, or waiting too.",
    ),
)


def runtime_option(default: str) -> Callable[[_Command], _Command]:
    """--runtime; default: what segments are run in without it, for the help."""
    return click.option(
        "--runtime",
        "runtimes",
        multiple=True,
        type=click.Choice(["torch", "torch-channels-last", "onnx", "compile", "cuda"]),
        help="What segments may be run in, chosen with the plan; several times for several. Else "
        f"{default}.",
    )


transport_option = click.option(
    "--transport-security",
    type=click.Choice(["tls", "none"]),
    default="tls",
    show_default=True,
    help="Whether payloads are encrypted and only this session may talk to its tiers.",
)
_SESSION = (
    click.option(
        "--policy",
        default="score",
        show_default=True,
        help="score, fastest, TIER-only, or a plan such as 'end:0-5 | cloud:5-38'.",
    ),
    click.option("--address", help="The Ray cluster to join, host:port; else RAY_ADDRESS."),
    click.option("--power", metavar="FILE", help="Watts per tier and phase (TOML)."),
    click.option(
        "--meter",
        "meters",
        metavar="TIER=METER",
        multiple=True,
        help="Which meter counts a tier's joules, of those `edgesplit meters` lists there; else "
        "the best one. `model` reads none.",
    ),
    runtime_option("torch, and onnx where a host has it"),
    click.option("--exact", is_flag=True, help="Only runtimes that give torch's bits."),
    transport_option,
    click.option(
        "--weights",
        default="random",
        show_default=True,
        help="random (seed 0), pretrained (downloaded), or a state dict's file.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON (SI units) instead of text."),
)


def _options(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return decorate


@click.command()
@click.argument("model")
@click.option("--image", metavar="FILE", help="Plan for this picture instead of random input.")
@click.option("--input-shape", default="1,3,224,224", show_default=True, help="Of random input.")
@click.option(
    "--batch", type=click.IntRange(1), default=1, show_default=True, help="Inputs a time."
)
@_options(_GOAL, _SESSION)
def plan(model: str, image: str | None, input_shape: str, batch: int, **options: Any) -> None:
    """Profile the tiers and show where to cut MODEL, and why.

    MODEL is a classifier of torchvision or package.module:callable, which returns a module.
    Prints the chosen plan, the best plan of every other route and the matrix S(i, j).

    \b
    Example: edgesplit plan vgg16 --latency-limit-ms 800 --keep-layers 1
    """
    from edgesplit.answers import example_input
    from edgesplit.core.cost import CostModel
    from edgesplit.splits import split_matrix

    x = example_input(image, input_shape, batch)
    goal = _goal(options)
    with _split(model, goal, options) as split:
        split.infer(x)
        split.wait_for_runtimes()
        explanation, profile = split.explain(), split.profile()
        running, is_emulated = split.plan, not split.emulation.is_off
        costs = CostModel(split.graph(), profile, goal)
    assert running is not None, "a request was sent"
    matrix = split_matrix(costs, running) if len(profile.tiers) == 3 else None
    if options["as_json"]:
        found = {"model": model, "emulated": is_emulated, "input_shape": list(x.shape)}
        found |= explanation.as_dict() | {"matrix": matrix.as_dict() if matrix else None}
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(f"{explanation}\n\n{matrix or ''}")
    click.echo(_where(is_emulated))


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True)
@_options(_GOAL, _SESSION)
def run(model: str, images: tuple[str, ...], **options: Any) -> None:
    """Classify IMAGES with MODEL, cut across the tiers.

    Pictures are prepared as ImageNet's classifiers expect: 1x3x224x224.

    \b
    Example: edgesplit run mobilenet_v2 cat.png dog.jpg --weights pretrained
    """
    from edgesplit.answers import answers_table, classify
    from edgesplit.core.energy.provenance import counted
    from edgesplit.node.images import load_image

    inputs = {image: load_image(image) for image in images}
    with _split(model, _goal(options), options) as split:
        if options["runtimes"]:
            split.infer(next(iter(inputs.values())))
            split.wait_for_runtimes()
        answers = [classify(split, image, x) for image, x in inputs.items()]
        is_emulated = not split.emulation.is_off
        energy = counted(split.profile(), options["boundary"])
    if options["as_json"]:
        rows = [answer.as_dict() for answer in answers]
        found = {"model": model, "emulated": is_emulated, "energy": energy, "images": rows}
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(answers_table(answers))
    if options["weights"] == "random":
        click.echo("weights are random (seed 0): the classes mean nothing")
    click.echo(f"{_where(is_emulated)}; {energy}")


@click.command(short_help="Three models on photographs while a link breaks down.")
@click.option("--out", default="out/demo", show_default=True, help="Folder for the results.")
@click.option("--quick", is_flag=True, help="AlexNet and MobileNetV2 only, fewer requests.")
@click.option("--requests", type=click.IntRange(8), help="Per model and pass.")
@click.option("--models", metavar="NAME,...", help="Of torchvision, instead of the three.")
@click.option("--no-live", is_flag=True, help="Plain lines instead of the live view.")
def demo(out: str, quick: bool, requests: int | None, models: str | None, no_live: bool) -> None:
    """Three models on photographs while a link breaks down, static against adaptive plan.

    Everything runs on this machine; tiers and links are emulated, energy is modelled. Takes
    three to five minutes on two cores.

    \b
    Example: edgesplit demo --quick --out out/quick
    """
    from dataclasses import replace

    from edgesplit.demo.report import play
    from edgesplit.demo.scenario import QUICK, Scenario

    scenario = QUICK if quick else Scenario()
    if models is not None:
        scenario = replace(scenario, models=tuple(filter(None, models.split(","))))
    if requests is not None:
        scenario = replace(scenario, requests=requests)
    play(scenario, Path(out), is_live=not no_live)


def _goal(options: Mapping[str, Any]) -> "Goal":
    from edgesplit.core.goal import Goal

    limit_ms = options["latency_limit_ms"]
    return Goal(
        end_energy=options["end_energy"],
        total_energy=options["total_energy"],
        latency=options["latency"],
        latency_limit_s=None if limit_ms is None else limit_ms / 1e3,
        min_end_layers=options["keep_layers"],
        boundary=options["boundary"],
    )


def _split(model: str, goal: "Goal", options: Mapping[str, Any]) -> "EdgeSplit":
    from edgesplit.api import EdgeSplit
    from edgesplit.config import Config
    from edgesplit.node.zoo import load_model

    module = load_model(model, options["weights"])
    config = Config(
        power_file=options["power"],
        meters=named_meters(options["meters"]),
        runtimes=options["runtimes"] or None,
        exact=options["exact"],
        transport_security=options["transport_security"],
    )
    return EdgeSplit(module, goal, options["policy"], options["address"], config)


def named_meters(texts: Sequence[str]) -> dict[str, str]:
    """TIER=METER as a mapping. Raises click.UsageError."""
    meters = {}
    for text in texts:
        tier, equals, meter = text.partition("=")
        if not (tier and equals and meter):
            raise click.UsageError(f"--meter {text!r}: expected TIER=METER, such as end=rapl")
        meters[tier] = meter
    return meters


def _where(is_emulated: bool) -> str:
    return EMULATED if is_emulated else "times are measured on the cluster"
