"""`edgesplit meters`: which meters this host has, and what they say now."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesplit.cli.options import SECONDS

if TYPE_CHECKING:
    from edgesplit.node.meter.sampler import Sampler
    from edgesplit.node.meter.sensor import Found

_PERIOD_S = 0.5  # of watching


@click.command(short_help="List the energy meters of this host.")
@click.option("--watch", is_flag=True, help="Read the usable meters until Ctrl-C.")
@click.option("--seconds", type=SECONDS, help="Read them for that many seconds.")
@click.option("--meter", "names", multiple=True, metavar="METER", help="Only this meter.")
@click.option("--out", type=click.Path(path_type=Path), help="Also record the readings as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (SI units) instead of text.")
@click.pass_context
def meters(
    ctx: click.Context,
    /,
    watch: bool,
    seconds: float | None,
    names: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """List the energy meters of this host: what each covers, or why it cannot be used.

    METER is a name from the list, or fixed:WATTS, shelly:URL, replay:FILE.csv, nvml:0,1. Ends with
    exit code 1 if a named meter cannot be used.

    \b
    Example: edgesplit meters --watch --meter rapl --seconds 30 --out rapl.csv
    """
    if watch or seconds is not None or out is not None:
        _watch(names, seconds, out, as_json)
        return
    found = _found(names)
    if as_json:
        click.echo(json.dumps([_as_dict(one) for one in found], indent=1))
    else:
        for one in found:
            click.echo("\n".join(_lines(one)))
        if not (names or any(one.sensor for one in found)):
            click.echo(
                "no meter can be read here: energy is modelled, watts x seconds (power.toml)"
            )
    ctx.exit(1 if names and any(one.sensor is None for one in found) else 0)


def _found(names: tuple[str, ...]) -> list["Found"]:
    from edgesplit.errors import MeterError
    from edgesplit.node.meter.choose import discover, named_sensor
    from edgesplit.node.meter.sensor import Found

    if not names:
        return discover()
    found = []
    for name in names:
        try:
            sensor = named_sensor(name)
            sensor.open()
            sensor.close()
            found.append(Found(name, sensor))
        except MeterError as error:
            found.append(Found(name, None, error.reason, error.fix))
    return found


def _lines(one: "Found") -> Iterator[str]:
    if one.sensor is None:
        yield f"{one.id}: cannot be used: {one.reason}"
        if one.fix:
            yield f"  to mend it: {one.fix}"
        return
    info = one.sensor.info
    yield f"{one.id}: {info.scope}, {info.kind}"
    averaged = f", averaged over {_time(info.averaging_s)}" if info.averaging_s else ""
    unit = "J" if info.kind == "counter" else "W"
    accuracy = "not known" if math.isnan(info.rel_accuracy) else f"{info.rel_accuracy:.1%}"
    every, step = _time(info.update_s), f"{info.resolution:.2g} {unit}"
    yield f"  a new figure every {every}{averaged}; step {step}; accuracy (k=1) {accuracy}"
    if info.excludes:
        yield f"  leaves out: {', '.join(info.excludes)}"
    yield f"  from: {info.provenance}"


def _time(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"


def _as_dict(one: "Found") -> dict[str, Any]:
    row: dict[str, Any] = {"id": one.id, "usable": one.sensor is not None}
    row |= {"reason": one.reason, "fix": one.fix, "info": None}
    if one.sensor is not None:
        info = asdict(one.sensor.info)
        accuracy = info["rel_accuracy"]
        row["info"] = info | {"rel_accuracy": None if math.isnan(accuracy) else accuracy}
    return row


def _watch(names: tuple[str, ...], seconds: float | None, out: Path | None, as_json: bool) -> None:
    """Read until the time is over or Ctrl-C; a line per reading, and what sampling cost."""
    from edgesplit.cli.out import writable_file
    from edgesplit.errors import MeterError
    from edgesplit.node.meter.sampler import Sampler
    from edgesplit.node.meter.sensor.replay import write_recording

    if out is not None:
        writable_file(out)
    found = _found(names)
    unusable = [one for one in found if one.sensor is None] if names else []
    if unusable:
        raise MeterError(f"{unusable[0].id}: {unusable[0].reason}", unusable[0].fix)
    sensors = [one.sensor for one in found if one.sensor is not None]
    if not sensors:
        raise MeterError("no usable meter to watch", "`edgesplit meters` says why")
    if out is not None and len(sensors) > 1:
        raise MeterError(f"{len(sensors)} meters to record", "name one with --meter")
    with ExitStack() as stack:
        samplers = [stack.enter_context(Sampler(sensor, _PERIOD_S)) for sensor in sensors]
        began_s = time.perf_counter()
        try:
            while seconds is None or time.perf_counter() - began_s < seconds:
                for sampler in samplers:
                    sampler.wait_until(time.perf_counter())
                    _show(sampler, began_s, as_json)
        except KeyboardInterrupt:
            click.echo("", err=True)
        finally:  # also of a meter that failed: what it said before is kept
            for sampler in samplers:
                click.echo(_cost(sampler), err=as_json)
            if out is not None:
                write_recording(out, samplers[0].readings(), samplers[0].info)


def _cost(sampler: "Sampler") -> str:
    cost = sampler.overhead()
    return (
        f"{sampler.info.id}: {cost.readings} readings, {cost.failed} failed, "
        f"{cost.read_s * 1e3:.2f} ms each, sampling took {cost.cpu_share:.2%} of a core"
    )


def _show(sampler: "Sampler", began_s: float, as_json: bool) -> None:
    timeline = sampler.timeline(time.perf_counter() - 4 * _PERIOD_S)
    first, last = timeline.readings[0], timeline.readings[-1]
    if first.at_s == last.at_s:
        return
    energy, span_s = timeline.energy(first.at_s, last.at_s), last.at_s - first.at_s
    watts, k2_w = energy.joules / span_s, 2 * energy.u_j / span_s
    is_known = not math.isnan(k2_w)
    row = {"meter": sampler.info.id, "at_s": last.at_s - began_s, "watts": watts}
    if as_json:
        more = {"k2_w": k2_w if is_known else None, "parts": dict(last.parts)}
        click.echo(json.dumps(row | more))
        return
    parts = "".join(f"  {name} {value:.3g}" for name, value in last.parts.items())
    told = f"± {k2_w:.3f} W (k=2)" if is_known else "W (uncertainty unknown)"
    click.echo(f"{row['at_s']:7.1f} s  {sampler.info.id}: {watts:8.3f} {told}{parts}")
