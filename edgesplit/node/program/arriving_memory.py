"""Weight files on their way into a process's memory, where no file can be written."""

import mmap
import threading
from collections.abc import Collection

import numpy as np

from edgesplit.errors import WireError
from edgesplit.node.program.early_parts import EarlyParts
from edgesplit.node.program.packed import Bytes
from edgesplit.node.program.storage_check import StorageCheck
from edgesplit.node.program.weight_file import WeightLayout, storages_in


class _FileBuffer:
    """One file. bytes: its memory, which begins a page, as a mapped file does."""

    def __init__(self, layout: WeightLayout) -> None:
        self.bytes: Bytes = np.frombuffer(mmap.mmap(-1, layout.n_bytes), np.uint8)
        self.size = 0
        self.early = EarlyParts()
        self.check = StorageCheck(layout)


class ArrivingMemory:
    """As ArrivingFiles, for one process."""

    def __init__(self) -> None:
        self._buffers: dict[str, _FileBuffer] = {}
        self._lock = threading.Lock()

    def n_bytes(self, file: str) -> int:
        """How many of a file's bytes are here, from its beginning."""
        return self._buffers[file].size if file in self._buffers else 0

    def read(self, file: str, start: int, stop: int) -> Bytes | None:
        """These bytes of a file of which so much is here; None where it is not."""
        return self._buffers[file].bytes[start:stop] if self.n_bytes(file) >= stop else None

    def add(self, file: str, layout: WeightLayout, start: int, part: Bytes) -> int:
        """As ArrivingFiles.add(). Raises WireError, OSError where there is no memory."""
        with self._lock:
            if file not in self._buffers:
                self._buffers[file] = _FileBuffer(layout)
            buffer = self._buffers[file]
            for piece in buffer.early.next_after(start, part, buffer.size):
                if len(piece) > layout.n_bytes - buffer.size:
                    self.drop(file)
                    raise WireError("more bytes of weights have come than there are")
                buffer.bytes[buffer.size : buffer.size + len(piece)] = piece
                buffer.size += len(piece)
            return self._checked(file, buffer)

    def storages(self, file: str, layout: WeightLayout) -> dict[str, Bytes]:
        """What is in a file that is whole, by name. Raises WireError."""
        if self.n_bytes(file) < layout.n_bytes:
            raise WireError(f"{layout.n_bytes - self.n_bytes(file)} bytes have not come")
        return storages_in(self._buffers[file].bytes, f"file {file[:12]}")

    def keep_only(self, files: Collection[str]) -> None:
        """Forget all others."""
        for file in [file for file in self._buffers if file not in files]:
            self.drop(file)

    def drop(self, file: str) -> None:
        """Forget what has come of a file."""
        self._buffers.pop(file, None)

    def _checked(self, file: str, buffer: _FileBuffer) -> int:
        try:
            buffer.check.read_on(lambda at, most: buffer.bytes[at : at + most].data, buffer.size)
        except WireError:
            self.drop(file)
            raise
        return buffer.size
