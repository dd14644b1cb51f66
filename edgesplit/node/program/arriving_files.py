"""Weight files on their way into a store: what has come of one stays for the next transfer.

parts/NAME is the beginning of weights/NAME. Several processes may fetch the same file at once: each
appends what comes next. A file is compared with its name while it grows; what is damaged is begun
again.
"""

import contextlib
import errno
import os
import shutil
import threading
from collections import defaultdict
from pathlib import Path

import numpy as np

from edgesplit.errors import WireError
from edgesplit.node.program.early_parts import EarlyParts
from edgesplit.node.program.kept_programs import KeptPrograms
from edgesplit.node.program.packed import Bytes
from edgesplit.node.program.storage_check import StorageCheck
from edgesplit.node.program.store_folder import StoreFolder, locked
from edgesplit.node.program.weight_file import WeightLayout

_LOCK_TIMEOUT_S = 30.0  # another process may be frozen while it appends


class ArrivingFiles:
    """Those of one folder, as one process sees them."""

    def __init__(self, folder: StoreFolder, kept: KeptPrograms) -> None:
        self._folder, self._kept = folder, kept
        self._early: defaultdict[str, EarlyParts] = defaultdict(EarlyParts)
        self._checks: dict[str, StorageCheck] = {}
        self._lock = threading.Lock()

    def expect(self) -> None:
        """Make the folder; give up what nobody goes on with. Raises OSError, ConfigError."""
        self._folder.make_parts()

    def n_bytes(self, file: str) -> int:
        """How many of a file's bytes are here, from its beginning."""
        if not self._folder.is_own:
            return 0
        for path in (self._folder.weights(file), self._folder.parts / file):
            try:
                return path.stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                continue
        return 0

    def read(self, file: str, start: int, stop: int) -> Bytes | None:
        """These bytes of a file that is here, or of which so much is; None where it is not."""
        for path in (self._folder.weights(file), self._folder.parts / file):
            try:
                with path.open("rb", buffering=0) as opened:
                    data = os.pread(opened.fileno(), stop - start, start)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if len(data) == stop - start and self._folder.is_own:
                return np.frombuffer(data, np.uint8)
        return None

    def add(self, file: str, layout: WeightLayout, start: int, part: Bytes) -> int:
        """A part from `start` has come; how many bytes are here now, from the file's beginning.

        Raises WireError where they are damaged: then it begins again. OSError, ConfigError.
        """
        with self._lock:
            if self._folder.weights(file).is_file():
                self.drop(file)
                return layout.n_bytes
            path = self._begun(file, layout)
            with locked(path, _LOCK_TIMEOUT_S) as handle:
                if self._is_taken(file):
                    return layout.n_bytes
                size = os.fstat(handle).st_size
                for piece in self._early[file].next_after(start, part, size):
                    size += _appended(handle, piece, size)
                size = self._checked(file, layout, handle)
            for other in self._checks:  # nobody is to take them for given up
                with contextlib.suppress(FileNotFoundError):
                    os.utime(self._folder.parts / other)
            return size

    def whole(self, file: str, layout: WeightLayout) -> Path:
        """A file that is not in the store yet, once all of it is here and right.

        Raises WireError where it is not, OSError.
        """
        with self._lock:
            path = self._folder.parts / file
            if not path.exists():
                raise WireError(f"weights {file[:12]} have not come, or are taken by now")
            with locked(path, _LOCK_TIMEOUT_S) as handle:
                if self._is_taken(file):
                    raise WireError(f"weights {file[:12]} are taken by now")
                size = self._checked(file, layout, handle)
            if size != layout.n_bytes:
                raise WireError(f"{layout.n_bytes - size} bytes of weights have not come")
            return path

    def drop(self, file: str) -> None:
        """Forget what has come of a file."""
        self._early.pop(file, None)
        self._checks.pop(file, None)
        (self._folder.parts / file).unlink(missing_ok=True)

    def _is_taken(self, file: str) -> bool:
        """Whether the file got its name after this process last looked, and before its lock.

        Then the lock is on a new, empty one, which would stay.
        """
        is_taken = self._folder.weights(file).is_file()
        if is_taken:
            self.drop(file)
        return is_taken

    def _begun(self, file: str, layout: WeightLayout) -> Path:
        path = self._folder.parts / file
        if not path.exists():
            self.expect()
            with self._folder.changing():
                self._kept.make_room(layout.n_bytes)
            if shutil.disk_usage(self._folder.path).free < layout.n_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return path

    def _checked(self, file: str, layout: WeightLayout, handle: int) -> int:
        """Its size, once what others and this process have appended is compared."""
        check = self._checks.setdefault(file, StorageCheck(layout))
        size = os.fstat(handle).st_size
        try:
            if size > layout.n_bytes:
                raise WireError("more bytes of weights have come than there are")
            check.read_on(lambda at, most: os.pread(handle, most, at), size)
        except WireError:
            self.drop(file)
            raise
        return size


def _appended(handle: int, piece: Bytes, at: int) -> int:
    """How many bytes that was. Raises OSError; what was written until then counts."""
    left = piece.data
    while left:
        written = os.pwrite(handle, left, at)
        left, at = left[written:], at + written
    return len(piece)
