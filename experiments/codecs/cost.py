"""What codecs cost on one thread: VGG-16's payloads of a photograph, encoded and decoded.

    python -m experiments.codecs.cost --out DIR [--rounds N]

In this process, without Ray and sockets. The weights are random, so that the photograph's zeros
and ranges are not a trained network's: ratios are lower than there.
"""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from PIL import Image
from skimage import data

from edgesplit.caller.inputs.images import load_image
from edgesplit.core.payload_codec import AS_IS, CODECS
from edgesplit.node.codec.payload import coded_bytes, decode, encode
from edgesplit.node.codec.speeds import measure_codecs
from edgesplit.node.program.torchvision_ops import import_torchvision
from experiments.shared.out import out_option
from experiments.shared.report import Row, print_rows, progress, write_rows

CUTS = (0, 2, 5, 10, 17, 24, 31)  # of features: the picture, and what blocks hand on
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@click.command()
@out_option
@click.option("--rounds", type=click.IntRange(3), default=15, show_default=True, help="Per codec.")
def main(out: Path, rounds: int) -> None:
    """Measure every codec on every payload; write codec_cost.csv and summary.json."""
    torch.set_num_threads(1)
    payloads = vgg_payloads()
    rows: list[Row] = []
    with progress("codecs", len(payloads) * len(LAYOUTS)) as advance:
        for (cut, payload), layout in itertools.product(payloads.items(), LAYOUTS):
            laid = payload.contiguous(memory_format=LAYOUTS[layout])
            rows += [{"cut": cut, "layout": layout, **row_of(laid, c, rounds)} for c in CODECS]
            advance()
    lines = measure_codecs({cut: [payload] for cut, payload in payloads.items()}, CODECS)
    write_rows(out, "codec_cost", rows, {"threads": 1, "lines": [vars(line) for line in lines]})
    shown = [row for row in rows if row["layout"] == "contiguous" and row["cut"] in (0, 5)]
    print_rows(shown, "Codecs, one thread")


def vgg_payloads() -> dict[int, torch.Tensor]:
    """VGG-16's payload at each of CUTS, for scikit-image's astronaut."""
    torch.manual_seed(0)
    features = import_torchvision().models.vgg16(weights=None).eval().features
    found, value = {}, load_image(Image.fromarray(data.astronaut()))  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for cut in range(len(features) + 1):
            if cut in CUTS:
                found[cut] = value.clone()
            value = features[cut](value) if cut < len(features) else value
    return found


def row_of(payload: torch.Tensor, codec: str, rounds: int) -> Row:
    """Medians in ms, the ratio of bytes, and the error as a share of the largest element's."""
    coded = encode([payload], codec)
    back = decode(coded)[0]
    as_is, made = coded_bytes([payload], AS_IS), coded_bytes([payload], codec)
    return {
        "codec": codec,
        "payload_bytes": as_is,
        "coded_bytes": made,
        "ratio": round(as_is / made, 3),
        "encode_ms": round(_ms(rounds, lambda: encode([payload], codec)), 4),
        "decode_ms": round(_ms(rounds, lambda: decode(coded)), 4),
        "max_error": float((back - payload).abs().max() / payload.abs().max()),
        "rms_error": float((back - payload).norm() / payload.norm()),
        "zeros": round(float((payload == 0).float().mean()), 3),
    }


def _ms(rounds: int, run: Any) -> float:
    taken_s: Sequence[float] = [_seconds(run) for _ in range(rounds + 2)][2:]
    return median(taken_s) * 1e3


def _seconds(run: Any) -> float:
    began_s = time.perf_counter()
    run()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
