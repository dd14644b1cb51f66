"""Whether an NVIDIA GPU's energy counter agrees with its power, integrated, under several loads.

    python -m experiments.gpu_meter --out DIR

Measured, on the first GPU of this machine; no Ray. To reach: a counter that rises, and 5 % between
the two over 10 s. Beside them the paper's two-point formula, and how often either figure changes.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import click
import pynvml
import torch

from edgesplit.errors import EdgeSplitError
from edgesplit.node.meter.sampler import Sampler
from edgesplit.node.meter.sensor import EnergySensor
from edgesplit.node.meter.sensor.nvml import NvmlSensor
from edgesplit.node.runtime import cuda
from experiments.runtimes.bench import offer, opened
from experiments.shared.out import out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import print_rows, write_rows
from experiments.two_point import TwoPoint

TARGET = 0.05
MODEL = "resnet50"
_PERIOD_S = 0.05  # of both samplers
_SETTLE_S = 2.0  # under the load before it is metered: the two-point formula's figure is old by 1 s
_WATCHED_S = 5.0  # for how often figures change
_SIDE = 4096
_BURST_S = 0.3

Work = Callable[[], Any]  # a moment of it, after which the GPU has done it


@click.command()
@out_option
@click.option("--seconds", type=click.FloatRange(1.0), default=10.0, show_default=True)
@plain_errors
def main(out: Path, seconds: float) -> None:
    """Meter the GPU at rest and at work; write summary.json and gpu_meter.csv."""
    if why := cuda.missing():
        raise EdgeSplitError(f"no GPU to meter: {why}")
    rows = []
    for name, work in loads():
        with under(work) if work else nullcontext():
            time.sleep(_SETTLE_S)
            rows.append({"load": name, **compare(seconds)})
            if name == "matmul":
                changes = {kind: changing(source) for kind, source in sources().items()}
    worst = max(abs(row["difference"]) for row in rows)
    reached = worst <= TARGET and all(row["counter_j"] > 0 for row in rows)
    summary = {
        "provenance": "measured",
        "gpu": torch.cuda.get_device_name(),
        "model": MODEL,
        "changes": changes,
        "target": TARGET,
        "largest_difference": worst,
        "target_reached": reached,
    }
    write_rows(out, "gpu_meter", rows, summary)
    print_rows(rows, f"{summary['gpu']}, {seconds:g} s each (measured)")
    for kind, found in changes.items():
        click.echo(f"{kind}: {found}")
    click.echo(
        f"counter and integrated power differ by {worst:.1%} at most; to reach: {TARGET:.0%}"
    )


def loads() -> Iterator[tuple[str, Work | None]]:
    """By name, from rest to bursts. A model's runs are those of the cuda runtime."""
    yield "idle", None
    a = torch.rand(_SIDE, _SIDE, device="cuda")

    def multiply() -> None:
        torch.matmul(a, a)
        torch.cuda.synchronize()

    yield "matmul", multiply
    graph, made = opened(MODEL)
    offer(made, "cuda")
    segment = made.workload.segment(0, len(graph), "cuda")
    yield MODEL, lambda: segment(made.values)

    def burst() -> None:
        end_s = time.perf_counter() + _BURST_S
        while time.perf_counter() < end_s:
            multiply()
        time.sleep(_BURST_S)

    yield "matmul in bursts", burst


def sources(api: Any = None) -> dict[str, EnergySensor]:
    """The counter and the power of the moment of the first GPU; neither waits for it."""
    return {
        kind: NvmlSensor((0,), api, lambda: None, counts=kind == "counter")
        for kind in ("counter", "power")
    }


@contextmanager
def under(work: Work) -> Iterator[None]:
    """Work in a thread of its own, again and again, while the block runs."""
    done = threading.Event()

    def repeat() -> None:
        while not done.is_set():
            work()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=60.0)


def compare(seconds: float, api: Any = None) -> dict[str, Any]:
    """One window, metered in three ways at once; differences are relative to the counter."""
    by_kind = sources(api)
    with (
        Sampler(by_kind["counter"], _PERIOD_S) as counter,
        Sampler(by_kind["power"], _PERIOD_S) as power,
    ):
        if counter.info.kind != "counter":
            raise EdgeSplitError("this GPU has no energy counter to compare its power with")
        time.sleep(10 * _PERIOD_S)
        two = TwoPoint(api or pynvml, 0)  # both samplers hold NVML open
        mark = two.mark()
        time.sleep(seconds)
        begin_s, end_s = mark[0], time.perf_counter()
        two_point_j = two.joules_since(mark)
        for sampler in (counter, power):
            sampler.wait_until(end_s + 2 * _PERIOD_S)
        counted = counter.timeline(begin_s).energy(begin_s, end_s)
        summed = power.timeline(begin_s).energy(begin_s, end_s)
        read_s, cpu_share = counter.overhead().read_s, counter.overhead().cpu_share
    return {
        "seconds": end_s - begin_s,
        "watts": counted.joules / (end_s - begin_s),
        "counter_j": counted.joules,
        "counter_u_j": counted.u_j,
        "power_j": summed.joules,
        "power_u_j": summed.u_j,
        "difference": summed.joules / counted.joules - 1,
        "two_point_j": two_point_j,
        "two_point_difference": two_point_j / counted.joules - 1,
        "read_s": read_s,
        "sampling_cpu_share": cpu_share,
    }


def changing(source: EnergySensor, seconds: float = _WATCHED_S) -> dict[str, float]:
    """How often its figure changes, read without a pause: median and largest seconds between."""
    source.open()
    try:
        seen: list[tuple[float, float]] = []
        end_s = time.perf_counter() + seconds
        while time.perf_counter() < end_s:
            reading = source.read()
            figure = reading.joules if reading.watts is None else reading.watts
            assert figure is not None
            seen.append((reading.at_s, figure))
    finally:
        source.close()
    return intervals(seen, seconds)


def intervals(seen: Sequence[tuple[float, float]], seconds: float) -> dict[str, float]:
    """Of figures read at moments, in `seconds` altogether."""
    changed_s = [two[0] for one, two in pairwise(seen) if two[1] != one[1]]
    gaps_s = [two - one for one, two in pairwise(changed_s)] or [seconds]
    return {"readings": len(seen), "median_s": median(gaps_s), "largest_s": max(gaps_s)}


if __name__ == "__main__":
    main()
