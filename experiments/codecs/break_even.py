"""From which link rate on a codec does not pay any more: predicted, and measured around it."""

from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from edgesplit import EdgeSplit, Plan, Profile
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
        if (rate := predicted_rate(profile, graph.payload_bytes[cut], (cut, one.codec)))
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


def predicted_rate(profile: Profile, as_is: int, at: tuple[int, str]) -> float:
    """Bytes/s of the first link at which writing and reading take what is saved; 0: never pays."""
    cut, codec = at
    end, edge = profile.tiers[:2]
    sizes = next(one for one in profile.codecs if one.codec == codec)
    writes = next((s for s in end.codec_speeds if s.codec == codec), None)
    reads = next((s for s in edge.codec_speeds if s.codec == codec), None)
    saved = as_is - sizes.payload_bytes[cut]
    if writes is None or reads is None or not 0 < saved < as_is:
        return 0.0
    seconds = (writes.encode_s + writes.encode_s_per_byte * as_is) * end.slowdown
    seconds += (reads.decode_s + reads.decode_s_per_byte * as_is) * edge.slowdown
    return saved / seconds


def measured_rate(
    scene: Scene, split: EdgeSplit, x: torch.Tensor, crossing: Crossing, rounds: int
) -> Row:
    """Where the difference of two plans, a line over 1 / rate, crosses zero."""
    names, n = split.profile.names, len(split.graph)
    plain = plan_along(names[:2], [crossing.cut], n)
    plans = plain, plain.coded([crossing.codec])
    rates = [crossing.bytes_per_s * factor for factor in SPREAD]
    differences = []
    for rate in rates:
        shape_all(scene, split, f"{rate / 1e6:.4f}MB/s")
        differences.append(_difference_s(split, x, plans, rounds))
    slope, offset = np.polyfit([1 / rate for rate in rates], differences, 1)
    measured = float(-slope / offset) if offset > 0 > slope else None
    row: dict[str, Any] = {"cut": crossing.cut, "codec": crossing.codec}
    row |= {"predicted_bytes_per_s": crossing.bytes_per_s, "measured_bytes_per_s": measured}
    row["ratio"] = None if measured is None else measured / crossing.bytes_per_s
    return row


def _difference_s(
    split: EdgeSplit, x: torch.Tensor, plans: tuple[Plan, Plan], rounds: int
) -> float:
    """Median over rounds of what the codec adds to the latency; requests take turns."""
    differences = []
    for number in range(rounds + 1):
        plain, coded = (ask(split, x, plan).figures for plan in plans)
        if number and plain is not None and coded is not None:
            differences.append(coded.latency_s - plain.latency_s)
    return median(differences)
