"""Compares a weight file with the names of what is in it, while it arrives: each byte once."""

import hashlib
from collections.abc import Callable

from edgesplit.errors import WireError
from edgesplit.node.program.weight_file import WeightLayout

_READ_BYTES = 1 << 20


class StorageCheck:
    """Of one file that arrives from its beginning to its end."""

    def __init__(self, layout: WeightLayout) -> None:
        header = len(layout.header)
        spans = [(header, hashlib.sha256(layout.header).hexdigest())]
        for name, (start, stop) in layout.spans.items():
            if start > spans[-1][0]:
                spans.append((start, ""))  # what fills the gap before it
            if stop > start:
                spans.append((stop, name))
        self._spans = iter([*spans, (layout.n_bytes, "")])
        self._stop, self._name = next(self._spans)
        self._at, self._hash = 0, hashlib.sha256()

    def read_on(self, read: Callable[[int, int], bytes | memoryview], n_bytes: int) -> None:
        """Go on until so many bytes are compared. read(at, most): some of the file from there.

        Raises WireError where a storage, or what lies before the first, has other bytes than its
        name stands for.
        """
        while self._at < n_bytes:
            data = read(self._at, min(_READ_BYTES, self._stop - self._at, n_bytes - self._at))
            if not data:
                raise WireError("a weight file is shorter than it was")
            self._hash.update(data)
            self._at += len(data)
            if self._at == self._stop:
                self._end_span()

    def _end_span(self) -> None:
        if self._name and self._hash.hexdigest() != self._name:
            raise WireError(f"storage {self._name[:12]} is damaged; send it again")
        self._stop, self._name = next(self._spans, (self._stop, ""))
        self._hash = hashlib.sha256()
