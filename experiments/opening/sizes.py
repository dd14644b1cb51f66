"""Fifty input sizes of a fully convolutional model in one session: seconds, memory, right answers.

    python -m experiments.opening.sizes --out DIR [--sizes 50]

Embedded, with its emulated tiers, torch only. Memory is that of all processes of the session (PSS).
"""

import random
import statistics
import time
from pathlib import Path
from typing import Any

import click
import psutil
import torch

from edgesplit import Config, EdgeSplit, load_model
from experiments.shared.memory import pss_bytes
from experiments.shared.out import out_option
from experiments.shared.report import print_rows, write_rows

_FIRST_FEW = 5  # sizes; memory is to be flat from then on
_SMALLEST, _LARGEST, _STEP = 64, 320, 8  # pixels


@click.command()
@out_option
@click.option("--sizes", type=click.IntRange(_FIRST_FEW + 1), default=50, show_default=True)
def main(out: Path, sizes: int) -> None:
    """Infer one picture of each size; compare with the model, look at the memory."""
    rows = measure(sizes)
    few, last = rows[_FIRST_FEW - 1], rows[-1]
    summary = {
        "emulated": True,
        "energy": None,
        "first_answer_s": rows[0]["seconds"],
        "further_size_s": statistics.median(row["seconds"] for row in rows[1:]),
        "memory_growth": last["pss_mb"] / few["pss_mb"] - 1,
        "is_right": all(row["is_right"] for row in rows),
    }
    write_rows(out, "sizes", rows, summary)
    print_rows([few, last], "Input sizes (emulated tiers and links; seconds and bytes measured)")
    click.echo(
        f"{sizes} sizes: a further one takes {summary['further_size_s']:.2f} s; memory grew by "
        f"{summary['memory_growth']:.1%} after the first {_FIRST_FEW}; "
        f"answers {'right' if summary['is_right'] else 'WRONG'}"
    )


def measure(n_sizes: int) -> list[dict[str, Any]]:
    """One row per size, in the order in which they were inferred."""
    model = load_model("mobilenet_v2").eval().get_submodule("features")
    rows = []
    with EdgeSplit(model, config=Config(runtimes=("torch",))) as split:
        for number, size in enumerate(_sizes(n_sizes), 1):
            picture = torch.rand(1, 3, *size)
            began_s = time.perf_counter()
            answer = split.infer(picture)
            seconds = time.perf_counter() - began_s
            with torch.no_grad():
                is_right = torch.allclose(answer, model(picture), rtol=1e-4, atol=1e-5)
            held_mb = _pss_bytes() / 1e6
            click.echo(f"{number}: {size}, {seconds:.2f} s, {held_mb:.0f} MB")
            rows.append(
                {
                    "number": number,
                    "size": "x".join(map(str, size)),
                    "seconds": seconds,
                    "pss_mb": held_mb,
                    "is_right": is_right,
                }
            )
    return rows


def _sizes(count: int) -> list[tuple[int, int]]:
    """All different, seeded; the largest is among the first few, so that later ones need no more.

    Memory that one answer needs is no growth.
    """
    edges = range(_SMALLEST, _LARGEST, _STEP)
    drawn = random.Random(0).sample([(h, w) for h in edges for w in edges], count - 1)
    return [drawn[0], (_LARGEST, _LARGEST), *drawn[1:]]


def _pss_bytes() -> float:
    """Of this program and all it has started."""
    here = psutil.Process()
    return pss_bytes([here, *here.children(recursive=True)])


if __name__ == "__main__":
    main()
