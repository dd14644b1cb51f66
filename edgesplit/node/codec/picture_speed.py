"""How quickly this host decodes pictures, and whether to the same bits as their caller's."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median
from typing import Any

import numpy as np

from edgesplit.core.payload_codec import PICTURE, CodecSpeed
from edgesplit.errors import RuntimeUnavailableError, WireError
from edgesplit.node.codec.payload import decode
from edgesplit.node.transport.coded_tensor import CodedTensor
from edgesplit.node.transport.packed_payload import PackedPayload, pack_payload

_RUNS = 3


@dataclass(frozen=True, eq=False)
class PictureSample:
    """A picture's file as a payload, and a digest of what the caller decodes it to."""

    coded: PackedPayload
    digest: bytes


def picture_sample(coded: CodedTensor) -> PictureSample:
    """Of one that this process sends. Raises as decode()."""
    return PictureSample(pack_payload([coded]), _digest(decode([coded])))


def measured_picture_speed(
    samples: Sequence[PictureSample],
    run_slot: Callable[[Callable[[], Any]], Any] = lambda run: run(),
) -> CodecSpeed:
    """Seconds to decode, the mean of some pictures; nothing is encoded.

    Raises RuntimeUnavailableError where this host cannot decode one, or to other bits. run_slot: as
    measure_codecs() has it.
    """
    seconds, sizes = list[float](), list[int]()
    for sample in samples:
        values = sample.coded.values()
        runs = [run_slot(partial(_timed, values)) for _ in range(_RUNS)]
        if any(digest != sample.digest for _, digest, _ in runs):
            raise RuntimeUnavailableError(
                "pictures are decoded to other pixels here than by their caller; install the same "
                "Pillow on both hosts"
            )
        seconds.append(median(run[0] for run in runs))
        sizes.append(runs[0][2])
    per_byte = fmean(seconds) / max(1.0, fmean(sizes))
    return CodecSpeed(PICTURE, 0.0, 0.0, 0.0, per_byte)


def _timed(values: list[Any]) -> tuple[float, bytes, int]:
    """Seconds, digest and bytes of what was decoded. Raises RuntimeUnavailableError."""
    began_s = time.perf_counter()
    try:
        made = decode(values)
    except WireError as error:
        raise RuntimeUnavailableError(f"a picture cannot be decoded here: {error}") from error
    return time.perf_counter() - began_s, _digest(made), _n_bytes(made)


def _digest(values: Sequence[Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.digest()


def _n_bytes(values: Sequence[Any]) -> int:
    return sum(np.asarray(value).nbytes for value in values)
