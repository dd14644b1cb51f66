"""Entropy coders, which lose nothing: zstandard for slow links, lz4 for quicker ones.

A coder is given the bytes of a number form, or of the tensor itself. Numbers of several bytes come
as planes, all first bytes, then all second ones: that takes 11 % off a picture in float32, 2 to 4 %
off what stands behind a ReLU, 10 to 20 % off bfloat16, and nothing off float16.
"""

import lz4.block
import numpy as np
import zstandard

from edgesplit.errors import WireError
from edgesplit.node.transport.coded_size import CodedBytes

_LEVEL = 1  # -1 makes 30 % more of int8 codes in as many seconds, 3 takes twice as long
_LARGEST_WINDOW_BYTES = 1 << 23  # level 1 uses 512 KiB


def compress(coder: str, given: CodedBytes, plane_bytes: int) -> CodedBytes:
    """The bytes as that coder writes them; plane_bytes: of a number in them."""
    planes = given if plane_bytes == 1 else _planes(given, plane_bytes)
    if coder == "lz4":
        made = lz4.block.compress(planes, store_size=False)
    else:
        made = zstandard.ZstdCompressor(level=_LEVEL).compress(planes.data)
    return np.frombuffer(made, np.uint8)


def decompress(coder: str, coded: CodedBytes, expected_bytes: int) -> CodedBytes:
    """What compress() was given, still in planes: exactly so many bytes, for which memory is taken.

    Raises WireError for anything else.
    """
    try:
        made = (_from_lz4 if coder == "lz4" else _from_zstd)(coded, expected_bytes)
    except (zstandard.ZstdError, lz4.block.LZ4BlockError, ValueError) as error:
        raise WireError(f"these are no bytes of {coder}: {error}") from None
    if len(made) != expected_bytes:
        raise WireError(f"{coder} has {len(made)} bytes, expected {expected_bytes}")
    return np.frombuffer(made, np.uint8)


def _from_lz4(coded: CodedBytes, expected_bytes: int) -> bytes:
    made: bytes = lz4.block.decompress(coded, uncompressed_size=expected_bytes)
    return made


def _from_zstd(coded: CodedBytes, expected_bytes: int) -> bytes:
    """The frame says how much it makes, and that is what is allocated: so it is looked at first."""
    declared = zstandard.frame_content_size(coded.data)
    if declared != expected_bytes:
        raise WireError(f"zstd declares {declared} bytes, expected {expected_bytes}")
    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW_BYTES)
    return decompressor.decompress(coded.data, allow_extra_data=False)


def _planes(given: CodedBytes, plane_bytes: int) -> CodedBytes:
    planes = np.empty((plane_bytes, given.nbytes // plane_bytes), np.uint8)
    for number, plane in enumerate(planes):
        np.copyto(plane, given[number::plane_bytes])
    return planes.reshape(-1)


def join_planes(planes: CodedBytes, plane_bytes: int, joined: CodedBytes) -> None:
    """Write the numbers that lie in planes into `joined`, one after another."""
    for number, plane in enumerate(planes.reshape(plane_bytes, -1)):
        np.copyto(joined[number::plane_bytes], plane)
