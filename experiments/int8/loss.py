"""What onnx-int8 costs in accuracy on digits that were held out, with its interval of 95 %.

    python -m experiments.int8.loss --out DIR [--models NAME,...] [--quick]

In this process, without Ray. Full-size models whose weights were fitted to digits
(experiments/shared/probed.py), calibrated on some of the held-out digits and judged on the others.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

from edgesplit.core.accuracy import paired_loss, share_of
from edgesplit.node.program.export.model import export
from edgesplit.node.runtime.onnx_export import export_graph
from edgesplit.node.runtime.onnx_int8 import QuantizedRuntime
from edgesplit.node.runtime.onnx_quantise import quantised
from experiments.shared.out import out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.probed import Probed, probed
from experiments.shared.report import Row, print_rows, progress, write_rows

MODELS = "mobilenet_v2,alexnet,vgg16"
CALIBRATED = 16
QUICK_EXAMPLES = 64
_Run = Callable[[list[Any]], list[Any]]


@click.command()
@out_option
@click.option("--models", default=MODELS, show_default=True, metavar="NAME,...")
@click.option("--quick", is_flag=True, help="AlexNet on few digits: to try it out.")
@plain_errors
def main(out: Path, models: str, quick: bool) -> None:
    """Compare answers of onnx-int8 with eager torch's; write loss.csv and summary.json."""
    torch.set_num_threads(1)
    names = ["alexnet"] if quick else [name for name in models.split(",") if name]
    rows: list[Row] = []
    with progress("int8's loss", len(names)) as advance:
        for name in names:
            known = probed(name, Path("out/probed"))
            rows.append({"model": name, **row_of(known, QUICK_EXAMPLES if quick else None)})
            advance()
    provenance = "measured on held-out digits, weights fitted here, one thread"
    write_rows(out, "loss", rows, {"provenance": provenance, "calibrated_on": CALIBRATED})
    print_rows(rows, "Loss of onnx-int8 (measured)")


def row_of(known: Probed, most: int | None) -> dict[str, Any]:
    """Of one model: accuracies, the loss and how many answers differ. most: examples judged."""
    calibrating = [x for x, _ in known.examples[:CALIBRATED]]
    judged = known.examples[CALIBRATED:][:most]
    exact, approximate = _both(known.model, calibrating)
    worse = better = apart = right = 0
    for x, label in judged:
        answers = [int(run([x])[0].argmax()) for run in (exact, approximate)]
        was, is_now = (answer == label for answer in answers)
        right += was
        worse += was and not is_now
        better += is_now and not was
        apart += answers[0] != answers[1]
    loss, differs = paired_loss(worse, better, len(judged)), share_of(apart, len(judged))
    return {
        "examples": len(judged),
        "accuracy": right / len(judged),
        "int8_accuracy": (right - worse + better) / len(judged),
        **{"loss": loss.share, "loss_lower": loss.lower, "loss_upper": loss.upper},
        **{"answers_apart": differs.share, "apart_upper": differs.upper},
    }


def _both(model: torch.nn.Module, examples: list[torch.Tensor]) -> tuple[_Run, _Run]:
    """The whole model in eager torch and in 8 bits."""
    exported = export(model, (examples[0],))
    program, values = exported.program, exported.flatten((examples[0],))
    graph = quantised(export_graph(program, values), program.weights, [[x] for x in examples])
    whole = 0, len(program)
    return program.segment(*whole), QuantizedRuntime(graph, program.weights, 1).prepare(*whole)


if __name__ == "__main__":
    main()
