"""From which link rate on a codec does not pay any more: predicted, and measured around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from edgesplit import EdgeSplit, Plan, Profile
from edgesplit.core.coding import coding_s
from edgesplit.core.payload_codec import CODECS
from edgesplit.core.plan import plan_along
from experiments.codecs.comparison import shape_all
from experiments.shared.answer import ask
from experiments.shared.report import Row
from experiments.shared.scene import Scene

SPREAD = (0.35, 0.55, 0.8, 1.0, 1.5)  # of the predicted rate: where it is measured
LEAST, MOST = 0.2e6, 100e6  # bytes/s that the scenes can play faithfully


@dataclass(frozen=True)
class Crossing:
    """One codec at one cut of the first link. bytes_per_s: the predicted break-even rate."""

    cut: int
    codec: str
    bytes_per_s: float


def crossings(split: EdgeSplit, wanted: int) -> list[Crossing]:
    """Some that lie where they can be measured: the most telling cuts, one of each codec first."""
    profile, graph = split.profile, split.graph
    found = [
        Crossing(cut, one.codec, rate)
        for one in profile.codecs
        for cut in _telling(graph.payload_bytes)
        if (rate := predicted_rate(profile, graph.payload_bytes, (cut, one.codec)))
        and LEAST / SPREAD[0] <= rate <= MOST / SPREAD[-1]
    ]
    found.sort(key=lambda crossing: (CODECS.index(crossing.codec), crossing.cut))
    by_codec: dict[str, list[Crossing]] = {}
    for crossing in found:
        by_codec.setdefault(crossing.codec, []).append(crossing)
    rounds = [some[k] for k in range(len(found)) for some in by_codec.values() if k < len(some)]
    return rounds[:wanted]


def _telling(payload_bytes: tuple[int, ...]) -> list[int]:
    """Cuts whose payloads are large enough to be timed, some sizes apart."""
    large = [cut for cut, size in enumerate(payload_bytes[:-1]) if size >= 100_000]
    return [cut for n, cut in enumerate(large) if n % max(1, len(large) // 4) == 0]


def predicted_rate(profile: Profile, raw_bytes: Sequence[int], at: tuple[int, str]) -> float:
    """Bytes/s of the first link at which writing and reading take what is saved; 0: never pays."""
    cut, codec = at
    sizes, seconds = profile.codec(codec), predicted_s(profile, raw_bytes, at)
    assert sizes is not None, "it is one of the profile's"
    saved = raw_bytes[cut] - sizes.payload_bytes[cut]
    return float(saved / seconds) if seconds and 0 < saved < raw_bytes[cut] else 0.0


def predicted_s(profile: Profile, raw_bytes: Sequence[int], at: tuple[int, str]) -> float:
    """Of writing on the first tier and reading on the second; 0 where one cannot."""
    cut, codec = at
    end, edge = profile.tiers[:2]
    writes, reads = end.codec_speed(codec), edge.codec_speed(codec)
    if writes is None or reads is None:
        return 0.0
    raw, sizes = np.asarray(raw_bytes, dtype=float), profile.codec(codec)
    encode_s = coding_s(writes, sizes, raw, end.slowdown)[0][cut]
    decode_s = coding_s(reads, sizes, raw, edge.slowdown)[1][cut]
    return float(encode_s + decode_s)


def measured_rate(
    scene: Scene,
    split: EdgeSplit,
    inputs: Sequence[torch.Tensor],
    crossing: Crossing,
    rounds: int,
) -> Row:
    """Where the difference of two plans, a line over 1 / rate, crosses zero.

    inputs take turns, since a codec makes more of one than of another. They should be the examples
    whose bytes the profile has.
    """
    names, n = split.profile.names, len(split.graph)
    plain = plan_along(names[:2], [crossing.cut], n)
    plans = plain, plain.coded([crossing.codec])
    rates = [crossing.bytes_per_s * factor for factor in SPREAD]
    differences, codings = list[float](), list[float]()
    at = crossing.cut, crossing.codec
    expected_s = predicted_s(split.profile, split.graph.payload_bytes, at)
    for rate in rates:
        shape_all(scene, split, f"{rate / 1e6:.4f}MB/s")
        difference_s, codec_s = _difference_s(split, inputs, plans, rounds)
        differences.append(difference_s)
        codings.append(codec_s)
    slope, offset = np.polyfit([1 / rate for rate in rates], differences, 1)
    measured = float(-slope / offset) if offset > 0 > slope else None
    row: dict[str, Any] = {"cut": crossing.cut, "codec": crossing.codec}
    row |= {"predicted_bytes_per_s": crossing.bytes_per_s, "measured_bytes_per_s": measured}
    row["ratio"] = None if measured is None else measured / crossing.bytes_per_s
    row |= {"predicted_codec_s": expected_s, "measured_codec_s": median(codings)}
    return row


def _difference_s(
    split: EdgeSplit, inputs: Sequence[torch.Tensor], plans: tuple[Plan, Plan], rounds: int
) -> tuple[float, float]:
    """Medians over rounds of what the codec adds to a request, and of its own seconds in that.

    Requests take turns. Seconds of layers are left out: a codec does not change them, and they
    scatter more than what it adds.
    """
    added, coding = list[float](), list[float]()
    for number in range(rounds + 1):
        x = inputs[number % len(inputs)]
        plain, coded = (_beside_layers_s(split, x, plan) for plan in plans)
        if number and plain is not None and coded is not None:
            added.append(coded[0] - plain[0])
            coding.append(coded[1])
    return median(added), median(coding)


def _beside_layers_s(split: EdgeSplit, x: torch.Tensor, plan: Plan) -> tuple[float, float] | None:
    """Seconds of a request without its layers, and those of coding; None: it did not come back."""
    answer, record = ask(split, x, plan), split.last_record
    if answer.figures is None or record is None:
        return None
    layers_s = sum(timing.compute_s for timing in record.timings)
    codec_s = sum(timing.codec_s for timing in record.timings)
    return answer.figures.latency_s - layers_s, codec_s
