"""Storages of a program in one safetensors file, which every process of a host maps.

Written here, not by the safetensors library: kernels round by how their operands are aligned, so
each storage begins at a multiple of 64 bytes, where the library keeps 8. What is written is a
valid file of the format all the same. A storage is called by the SHA-256 of its bytes.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgesplit.errors import WireError
from edgesplit.node.program.packed import Bytes

ALIGNMENT = 64
_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 64 << 20


def storage_name(storage: Bytes) -> str:
    """What a storage is called: the SHA-256 of its bytes."""
    return hashlib.sha256(storage.data).hexdigest()


@dataclass(frozen=True)
class WeightLayout:
    """A weight file without its weights. spans: [start, stop) of each storage in it, in order."""

    header: bytes
    spans: Mapping[str, tuple[int, int]]
    n_bytes: int

    def part(self, storages: Mapping[str, Bytes], start: int, stop: int) -> Bytes:
        """Bytes [start, stop) of the file with these storages; at most n_bytes."""
        made: Bytes = np.zeros(stop - start, np.uint8)
        header = np.frombuffer(self.header, np.uint8)
        for at, piece in ((0, header), *((s, storages[n]) for n, (s, _) in self.spans.items())):
            begin, end = max(start, at), min(stop, at + len(piece))
            if begin < end:
                made[begin - start : end - start] = piece[begin - at : end - at]
        return made


def weight_layout(sizes: Mapping[str, int]) -> WeightLayout:
    """Of the file with storages of these names and bytes, in this order."""
    entries, offsets, at = {}, {}, 0
    for name, size in sizes.items():
        entries[name] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        offsets[name] = at
        at += size + _padding(size)
        if _padding(size):  # the format allows no gaps: what fills one has a name too
            entries[f"pad.{name}"] = {
                "dtype": "U8",
                "shape": [_padding(size)],
                "data_offsets": [at - _padding(size), at],
            }
    header = json.dumps(entries).encode()
    header += b" " * (-(_LENGTH_BYTES + len(header)) % ALIGNMENT)
    begin = _LENGTH_BYTES + len(header)
    spans = {name: (begin + at, begin + at + sizes[name]) for name, at in offsets.items()}
    return WeightLayout(len(header).to_bytes(_LENGTH_BYTES, "little") + header, spans, begin + at)


def write_weight_file(path: Path, storages: Mapping[str, Bytes]) -> None:
    """Write storages by name. Raises OSError."""
    layout = weight_layout({name: storage.nbytes for name, storage in storages.items()})
    with path.open("wb") as file:
        file.write(layout.header)
        for storage in storages.values():
            file.write(storage.data)
            file.write(bytes(_padding(storage.nbytes)))


def map_weight_file(path: Path) -> dict[str, Bytes]:
    """The storages by name, as views of the mapped file.

    The memory belongs to the kernel's page cache: all processes that map the file share it. Nothing
    writes to weights; were it to, the page would become the process's own and the file stay as it
    is. Raises OSError, WireError for a file that is none of these.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _LENGTH_BYTES:
            raise WireError(f"{path} is cut short")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return storages_in(np.frombuffer(mapped, np.uint8), str(path))


def storages_in(whole: Bytes, what: str) -> dict[str, Bytes]:
    """The storages of a weight file by name, as views of it. what: it is called in errors.

    Raises WireError for bytes that are none.
    """
    header_bytes = int.from_bytes(whole[:_LENGTH_BYTES].tobytes(), "little")
    begin = _LENGTH_BYTES + header_bytes
    if header_bytes > _MOST_HEADER_BYTES or begin > len(whole):
        raise WireError(f"{what} is no file of weights: its header is longer than the file")
    try:
        entries = json.loads(whole[_LENGTH_BYTES:begin].tobytes())
        return dict(_storages(whole[begin:], entries))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError(f"{what} is no file of weights: {error}") from error


def check_weight_file(path: Path) -> None:
    """Raise WireError where a storage's bytes are not those that its name stands for."""
    for name, storage in map_weight_file(path).items():
        if storage_name(storage) != name:
            raise WireError(f"{path} is damaged: storage {name[:12]} has other bytes")


def _storages(data: Bytes, entries: Mapping[str, Any]) -> Iterable[tuple[str, Bytes]]:
    for name, entry in entries.items():
        if name.startswith(("pad.", "__metadata__")):
            continue
        start, stop = entry["data_offsets"]
        if not (isinstance(start, int) and isinstance(stop, int)):
            raise ValueError("offsets are whole numbers")
        if not 0 <= start <= stop <= len(data) or start % ALIGNMENT:
            raise ValueError(f"storage {name[:12]} lies outside of the file")
        yield name, data[start:stop]


def _padding(n_bytes: int) -> int:
    return -n_bytes % ALIGNMENT
