"""`edgesplit calibrate`: measures each tier's watts per phase, and keeps them on its host."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from edgesplit.cli.options import SECONDS, named_meters, runtime_option, transport_option
from edgesplit.errors import MeterError

if TYPE_CHECKING:
    from edgesplit.cluster.measure.calibrate import Calibrated


@click.command(short_help="Measure each tier's watts per phase.")
@click.argument("model", default="mobilenet_v2")
@click.option(
    "--address",
    help="The Ray cluster, host:port. Without it: RAY_ADDRESS, or this host's cluster.",
)
@click.option(
    "--meter",
    "meter_texts",
    multiple=True,
    metavar="TIER=METER",
    help="The meter of a tier. Without it: the best of its host.",
)
@runtime_option("torch")
@transport_option
@click.option(
    "--seconds", type=SECONDS, default=5.0, show_default=True, help="Seconds of each block."
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="How often each block is run.",
)
@click.option(
    "--pmic-against",
    metavar="METER",
    help="Do something else: fit this Pi's power chip to an external meter on this Pi, such as "
    "hwmon-powerz-0.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (SI units) instead of text.")
@click.pass_context
def calibrate(ctx: click.Context, /, model: str, **options: Any) -> None:
    """Measure the watts of each tier while it computes MODEL, sends, receives, waits and idles.

    Run it on a node of the cluster, and let nothing else run meanwhile. Each host that has a meter
    keeps its result, and later sessions plan with it. Ends with exit code 1 if no tier was
    calibrated.

    \b
    Example: edgesplit calibrate --seconds 10 --meter end=pi-pmic
    """
    if options["pmic_against"] is not None:
        _calibrate_pmic(options["pmic_against"], options["seconds"])
        return
    found = list(_calibrated(model, options))
    if options["as_json"]:
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
    else:
        for one in found:
            click.echo("\n".join(_calibrated_lines(one)))
    ctx.exit(0 if any(one.calibration for one in found) else 1)


def _calibrated(model: str, options: dict[str, Any]) -> list["Calibrated"]:
    import torch

    from edgesplit.caller.api import EdgeSplit
    from edgesplit.caller.inputs.zoo import load_model
    from edgesplit.cluster.measure.calibrate import Blocks
    from edgesplit.config import Config

    blocks = Blocks(options["seconds"], options["rounds"], min(1.0, options["seconds"] / 2))
    config = Config(
        meters=named_meters(options["meter_texts"]),
        runtimes=options["runtimes"] or ("torch",),
        transport_security=options["transport_security"],
    )
    module = load_model(model, "random")
    with EdgeSplit(module, policy="end-only", address=options["address"], config=config) as split:
        if not split.emulation.is_off:
            raise MeterError(
                "there is no cluster, and emulated tiers on one machine have no meters",
                "run it on a node of a cluster, or give the cluster's --address",
            )
        split.infer(torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
        click.echo(f"about {blocks.total_s:.0f} s per tier", err=True)
        return list(split.calibrate(blocks, lambda text: click.echo(f"  {text}", err=True)))


def _calibrated_lines(one: "Calibrated") -> Iterator[str]:
    from edgesplit.core.power import PHASES

    if one.calibration is None:
        yield f"{one.tier}: not calibrated: {one.problem}"
        return
    made = one.calibration
    yield f"{one.tier}: with {made.meter} ({made.scope}), {made.blocks} blocks, kept in {one.file}"
    for i, phase in enumerate(PHASES):
        k2_w = 2 * made.covariance[i][i] ** 0.5
        yield f"  {phase:9} {made.watts[i]:8.3f} ± {k2_w:.3f} W (k=2, measured)"


def _calibrate_pmic(against: str, seconds: float) -> None:
    from edgesplit.node.meter.calibration import (
        check_place,
        read_calibrations,
        write_calibrations,
    )
    from edgesplit.node.meter.choose import named_sensor
    from edgesplit.node.meter.pmic_fit import fit_pmic
    from edgesplit.node.meter.sampler import Sampler
    from edgesplit.node.meter.sensor.pi_pmic import ID, PiPmicSensor

    check_place()  # before minutes of measuring
    with Sampler(PiPmicSensor()) as pmic, Sampler(named_sensor(against)) as external:
        if external.info.scope != "board input":
            raise MeterError(
                f"{against} measures the {external.info.scope}, not the board input",
                "name a tester between the supply and this board, such as hwmon-powerz-0",
            )
        made = fit_pmic(pmic, external, seconds, lambda text: click.echo(f"  {text}", err=True))
    known = read_calibrations()
    phases = {name: one for name, one in known.phases.items() if ID not in name}
    file = write_calibrations(replace(known, phases=phases, pmic=made))  # old watts had another fit
    click.echo(f"{ID}: {made.describe()}; kept in {file}")
