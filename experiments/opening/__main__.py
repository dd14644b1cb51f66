"""Seconds from EdgeSplit(model) to the first answer, and the memory of all its processes.

    python -m experiments.opening --out DIR [--models mobilenet_v2,vgg16]

Each opening is a program of its own, torch only. Two ways take turns: programs `kept` on disk and
mapped by every process, and `in memory`, where no file can be written: each process then has its
own copy of the weights and is sent them each time. Two scenes: the embedded cluster with its
emulated tiers, whose start is part of the opening, and a Ray cluster of three nodes on this machine
that runs already. A model of one small layer tells what the processes hold without a model.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import psutil
import torch
from ray.cluster_utils import Cluster
from torch import nn

from edgesplit import Config, EdgeSplit, load_model
from experiments.shared.memory import pss_bytes
from experiments.shared.out import out_option
from experiments.shared.report import print_rows, write_rows

_LOOK_S = 0.2
_TIMEOUT_S = 600
FIRST, OTHER = (1, 3, 224, 224), (1, 3, 256, 256)
TIERS = ("end", "edge", "cloud")
EMPTY = "none"  # the model of one small layer


@click.command()
@out_option
@click.option("--models", default="mobilenet_v2,vgg16", show_default=True, help="torchvision's.")
@click.option("--openings", type=click.IntRange(1), default=2, show_default=True, help="Per way.")
def main(out: Path, models: str, openings: int) -> None:
    """Open, infer, infer another size; again, with what the first opening has left."""
    rows: list[dict[str, Any]] = []
    names = (EMPTY, *models.split(","))
    with tempfile.TemporaryDirectory() as folder:
        in_the_way = Path(folder) / "file"
        in_the_way.write_text("no folder can be made here")
        ways = (("kept", f"{folder}/cache"), ("in memory", f"{in_the_way}/c"))
        for model, number, (way, cache) in itertools.product(names, range(1, openings + 1), ways):
            rows.append(_opened("embedded", model, way, number, cache))
            print_rows(rows[-1:], f"{model}, {way}")
        for way, cache in ways:
            for model in names:
                with _running_cluster(cache) as address:
                    for number in range(1, openings + 1):
                        rows.append(_opened(address, model, way, number, cache))
                        print_rows(rows[-1:], f"{model}, {way}, on a cluster that runs")
    _compare_with_none(rows)
    write_rows(out, "opening", rows, {"emulated": True, "energy": None})
    print_rows(rows, "Opening (emulated tiers and links; seconds and bytes measured)")


def _compare_with_none(rows: list[dict[str, Any]]) -> None:
    """Add how much memory there is per byte of weights and processes without a model."""
    for row in rows:
        alike = ("scene", "programs", "opening")
        none = next(r for r in rows if r["model"] == EMPTY and all(r[k] == row[k] for k in alike))
        least_mb = none["pss_mb"] + row["weights_mb"]
        row["pss_of_least"] = row["pss_mb"] / least_mb
        row["peak_of_final"] = row["peak_mb"] / row["pss_mb"]
        more_mb = row["second_session_mb"] - none["second_session_mb"]
        row["second_of_weights"] = more_mb / row["weights_mb"] if row["weights_mb"] > 100 else None


def _opened(address: str, model: str, way: str, number: int, cache: str) -> dict[str, Any]:
    """One opening, in a program of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "experiments.opening", "--as-program", model, address],
        env={**os.environ, "EDGESPLIT_CACHE": cache},
        stdout=subprocess.PIPE,
        text=True,
        timeout=_TIMEOUT_S,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    scene = address if address == "embedded" else "cluster"
    return {"scene": scene, "model": model, "programs": way, "opening": number, **found}


@contextmanager
def _running_cluster(cache: str) -> Iterator[str]:
    """The address of three labelled Ray nodes on this machine, whose tiers use that cache."""
    os.environ["EDGESPLIT_CACHE"] = cache
    node = {"num_cpus": 1, "object_store_memory": 1 << 30, "include_dashboard": False}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="o-", dir="/tmp") as folder:
        warnings.simplefilter("ignore")  # what Ray's own test cluster leaves open
        os.environ["RAY_TMPDIR"] = folder
        first, *others = TIERS
        head = {**node, "labels": {"tier": first}}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for tier in others:
                cluster.add_node(**node, labels={"tier": tier})
            cluster.wait_for_nodes()
            yield cluster.address
        finally:
            cluster.shutdown()


def _model(name: str) -> nn.Module:
    if name == EMPTY:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)).eval()
    return load_model(name).eval()


def measure(name: str, address: str) -> dict[str, Any]:
    """What one program sees."""
    where = None if address == "embedded" else address
    config, made = Config(runtimes=("torch",)), _model(name)
    weight_bytes = sum(p.nbytes for p in made.state_dict().values())
    with _peak() as peak, ExitStack() as sessions:
        began_s = time.perf_counter()
        split = sessions.enter_context(EdgeSplit(made, address=where, config=config))
        del made  # handed over, as in EdgeSplit(build())
        split.infer(torch.rand(FIRST))
        first_s = time.perf_counter() - began_s
        held_bytes = _pss_bytes()
        most_bytes = max(peak[0], held_bytes)
        began_s = time.perf_counter()
        split.infer(torch.rand(OTHER))
        other_s = time.perf_counter() - began_s
        began_s, before_bytes = time.perf_counter(), _pss_bytes()
        second = sessions.enter_context(EdgeSplit(_model(name), address=where, config=config))
        second.infer(torch.rand(FIRST))
        second_s = time.perf_counter() - began_s
        more_bytes = _pss_bytes() - before_bytes
        sent = [sum(one.sent_weight_bytes.values()) for one in (split, second)]
    return {
        "first_answer_s": first_s,
        "other_size_s": other_s,
        "second_session_s": second_s,
        "weights_mb": weight_bytes / 1e6,
        "pss_mb": held_bytes / 1e6,
        "peak_mb": most_bytes / 1e6,
        "second_session_mb": more_bytes / 1e6,
        "weights_sent_mb": sent[0] / 1e6,
        "second_sent_mb": sent[1] / 1e6,
    }


@contextmanager
def _peak() -> Any:
    """The most memory that was seen while the block ran."""
    most, is_over = [0.0], threading.Event()

    def look() -> None:
        while not is_over.wait(_LOOK_S):
            most[0] = max(most[0], _pss_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        is_over.set()
        thread.join()


def _pss_bytes() -> float:
    """Of this program and all that runs for it."""
    return pss_bytes(psutil.Process(os.getppid()).children(recursive=True))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-program"]:
        click.echo(json.dumps(measure(*sys.argv[2:4])))
    else:
        main()
