"""Do codecs cost what was predicted? Bytes and losses measured on some examples, then on others.

    python -m experiments.codecs.predictions --out DIR [--quick]
    python -m experiments.codecs.predictions --out DIR --model NAME --data TEXT --weights FILE

In this process, without Ray. Small networks trained on digits; of the digits held out, 300 stand
for the examples that a session is given, the other 600 for later requests. Of a seeded sample of
cuts and codecs: the bytes on eight of the first and on all of the others, and both losses. A loss
is as predicted where the two differ by no more than both intervals of 95 % together allow.
"""

import math
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from edgesplit.caller.accuracy.codec_sizes import EXAMPLES_SIZED
from edgesplit.core.accuracy import Loss, paired_loss
from edgesplit.core.payload_codec import CODECS, is_lossy
from edgesplit.errors import ConfigError
from edgesplit.node.codec.payload import as_received, coded_bytes
from edgesplit.node.program.export.model import ExportedModel, export
from experiments.shared.out import out_option
from experiments.shared.own_data import own_data, own_data_options
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import Row, print_rows, progress, write_rows
from experiments.shared.trained import TrainedModel, trained_on_digits

MODELS = ("mobilenet_v2", "alexnet", "vgg16")
GIVEN = 300  # examples that a loss is measured on; the others come later
SEED = 0
BYTES_WITHIN = 0.05
_Examples = Sequence[tuple[torch.Tensor, int]]


@click.command()
@out_option
@click.option("--pairs", type=click.IntRange(1), default=14, show_default=True, help="Per model.")
@click.option("--quick", is_flag=True, help="AlexNet, three pairs: to try it out.")
@own_data_options
@plain_errors
def main(out: Path, pairs: int, quick: bool, **options: Any) -> None:
    """Compare predictions with what came; write predictions.csv and summary.json."""
    torch.set_num_threads(1)
    own = own_data(options)
    models, count = (MODELS[1:2], 3) if quick else (MODELS, pairs)
    makes = [partial(trained_on_digits, name) for name in models] if own is None else [own.load]
    rows: list[Row] = []
    with progress("predictions", len(makes) * count) as advance:
        for make in makes:
            for row in predicted(make(), count):
                rows.append(row)
                advance()
    found = {
        "bytes_within_5_percent": _share(rows, "are_bytes_as_predicted"),
        "loss_as_predicted": _share(rows, "is_loss_as_predicted"),
        "examples_given": GIVEN,
    }
    write_rows(out, "predictions", rows, found)
    print_rows(rows, "Predicted and measured (measured here, no tiers)")
    click.echo(str(found))


def predicted(trained: TrainedModel, count: int) -> list[Row]:
    """A row for each of the sampled pairs. Raises ConfigError for too few examples."""
    examples = trained.labelled()
    if len(examples) <= GIVEN:
        raise ConfigError(
            f"{len(examples)} examples; give more than {GIVEN}, on which losses are measured first"
        )
    exported = export(trained.model, (examples[0][0],))
    given, later = examples[:GIVEN], examples[GIVEN:]
    return [
        _row(trained.name, exported, pair, (given, later))
        for pair in _pairs(exported, examples[0][0], count)
    ]


def _pairs(exported: ExportedModel, x: torch.Tensor, count: int) -> list[tuple[int, str]]:
    """Of all cuts and lossy codecs that save something there, a sample."""
    program, pairs = exported.program, list[tuple[int, str]]()
    payload: Sequence[Any] = exported.flatten((x,))
    for cut, step in enumerate(program.steps()):
        plain = sum(value.nbytes for value in payload if isinstance(value, torch.Tensor))
        lossy = (codec for codec in CODECS if is_lossy(codec))
        pairs += [(cut, codec) for codec in lossy if coded_bytes(payload, codec) < plain]
        payload = step(payload)
    return random.Random(SEED).sample(pairs, min(count, len(pairs)))


def _row(
    name: str, exported: ExportedModel, pair: tuple[int, str], parts: tuple[_Examples, _Examples]
) -> Row:
    given, later = parts
    before, sizes = _measured(exported, pair, given)
    after, later_sizes = _measured(exported, pair, later)
    predicted_bytes = _mean(sizes[:EXAMPLES_SIZED])
    allowed = math.hypot(_half(before), _half(after))
    return {
        "model": name,
        "cut": pair[0],
        "codec": pair[1],
        "predicted_bytes": predicted_bytes,
        "measured_bytes": _mean(later_sizes),
        "bytes_ratio": _mean(later_sizes) / predicted_bytes,
        "are_bytes_as_predicted": abs(_mean(later_sizes) / predicted_bytes - 1) <= BYTES_WITHIN,
        "predicted_loss": before.share,
        "predicted_lower": before.lower,
        "predicted_upper": before.upper,
        "measured_loss": after.share,
        "is_loss_as_predicted": abs(before.share - after.share) <= allowed,
    }


def _measured(
    exported: ExportedModel, pair: tuple[int, str], examples: _Examples
) -> tuple[Loss, list[int]]:
    """What the codec at that cut costs on these, and its bytes of each."""
    (cut, codec), program = pair, exported.program
    head, rest = program.segment(0, cut), program.segment(cut, len(program))
    worse, better, sizes = 0, 0, list[int]()
    for x, label in examples:
        payload = head(exported.flatten((x,)))
        sizes.append(coded_bytes(payload, codec))
        was, now = (_class(exported, rest(p)) for p in (payload, as_received(payload, codec)))
        worse += was == label != now
        better += was != label == now
    return paired_loss(worse, better, len(examples)), sizes


def _class(exported: ExportedModel, values: Sequence[Any]) -> int:
    return int(exported.unflatten(values).argmax())


def _half(loss: Loss) -> float:
    return (loss.upper - loss.lower) / 2


def _mean(sizes: Sequence[int]) -> float:
    return sum(sizes) / len(sizes)


def _share(rows: Sequence[Row], key: str) -> float:
    return sum(bool(row[key]) for row in rows) / len(rows)


if __name__ == "__main__":
    main()
