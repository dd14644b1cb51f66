"""Picture files of one workload's requests: how many bytes they have, and a few to decode."""

import collections
import math
import statistics
from collections.abc import Sequence
from typing import Any

from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import AS_IS, PICTURE, CodecSizes
from edgesplit.node.codec.payload import coded_bytes
from edgesplit.node.codec.picture_speed import PictureSample, picture_sample
from edgesplit.node.transport.coded_tensor import CodedTensor

_SIZES_KEPT = 256  # of the latest requests
SAMPLES = 8
_LARGEST_SAMPLE_BYTES = 1 << 22
_MOVED = 0.1  # of the mean: so far off, the figures are taken anew


class SeenPictures:
    """The latest ones. Any thread may add."""

    def __init__(self) -> None:
        self._sizes = collections.deque[int](maxlen=_SIZES_KEPT)
        self._samples = collections.deque[CodedTensor](maxlen=SAMPLES)
        self._told: tuple[int, float] | None = None  # samples and mean size, as figures were taken

    def add(self, values: Sequence[Any]) -> None:
        """The payload at cut 0 of one more request, with the files that tiers take."""
        self._sizes.append(coded_bytes(values, AS_IS))
        coded = (one for one in values if isinstance(one, CodedTensor))
        self._samples += [c for c in coded if c.buffer.nbytes <= _LARGEST_SAMPLE_BYTES]

    @property
    def are_new(self) -> bool:
        """Whether figures should be taken: there are none yet, of few files, or of other ones."""
        if not self._samples:
            return False
        if self._told is None:
            return True
        count, mean = self._told
        moved = abs(statistics.fmean(list(self._sizes)) - mean) > _MOVED * mean
        return len(self._samples) >= SAMPLES and (count < SAMPLES or moved)

    def sizes(self, graph: Graph) -> CodecSizes:
        """Mean and spread of the bytes at cut 0; they count as taken then."""
        seen, last = list(self._sizes), len(graph)
        mean = statistics.fmean(seen)
        self._told = len(self._samples), mean
        is_smaller = mean < graph.payload_bytes[0]
        return CodecSizes(
            PICTURE,
            (mean if is_smaller else math.inf, *(math.inf,) * last),
            (0.0,) * (last + 1),
            spread_bytes=(statistics.pstdev(seen), *(0.0,) * last),
        )

    def samples(self) -> tuple[PictureSample, ...]:
        """Some to decode, with what this process decodes them to. Raises as decode()."""
        return tuple(map(picture_sample, list(self._samples)))
