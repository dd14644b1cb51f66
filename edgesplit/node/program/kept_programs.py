"""All programs that a host keeps: listed, compared with their names, and given up for others."""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesplit.errors import WireError
from edgesplit.node.program.program_file import ProgramFile
from edgesplit.node.program.store_folder import StoreFolder, locked
from edgesplit.node.program.weight_file import check_weight_file

_DISK_SHARE = 0.5  # of what is free, and of what the store holds already
_IDLE_S = 600.0  # a transfer that goes on touches its parts more often


@dataclass(frozen=True)
class StoredProgram:
    """One entry. used_s: time.time()'s, of the last use. is_used: by some process now."""

    name: str
    n_bytes: int
    used_s: float
    is_used: bool


class KeptPrograms:
    """The programs of a folder. limit_bytes: as ProgramStore has it."""

    def __init__(self, folder: StoreFolder, limit_bytes: float) -> None:
        self._folder, self._limit_bytes = folder, limit_bytes

    def entries(self) -> list[StoredProgram]:
        """All programs, the one used last first."""
        found = [self._entry(folder) for folder in self._folder.programs()]
        return sorted(found, key=lambda entry: -entry.used_s)

    @property
    def n_bytes(self) -> int:
        """On disk, weights that programs share once."""
        return sum(path.stat().st_size for path in self._folder.files())

    def verify(self) -> list[str]:
        """Read all and compare it with its names; what is wrong, each dropped."""
        wrong = []
        for folder in self._folder.programs():
            name = folder.name
            try:
                if described := self._folder.described(name):
                    self.check(described)
            except (OSError, WireError) as error:
                wrong.append(f"{name}: {error}")
                self.drop(name)
        return wrong

    def check(self, described: ProgramFile) -> None:
        """Read all of its weights. Raises WireError for other bytes than the names say, OSError."""
        for file in described.file_names:
            check_weight_file(self._folder.weights(file))

    def clear(self) -> list[str]:
        """Give up what nobody uses, exports and links too; names of what is in use and stays."""
        with self._folder.changing():
            for folder in self._folder.programs():
                self._give_up(folder.name)
            self._drop_unreferenced()
            shutil.rmtree(self._folder.parts, ignore_errors=True)
            for room in (self._folder.exports, self._folder.links):
                shutil.rmtree(room, ignore_errors=True)
        return [folder.name for folder in self._folder.programs()]

    def make_room(self, n_bytes: int) -> None:
        """Give up what nobody fetches any more, and what was used longest ago, until so much fits.

        Within changing().
        """
        if self._fits(n_bytes):
            return
        self._folder.drop_parts(_IDLE_S)
        for entry in reversed(self.entries()):
            if self._fits(n_bytes):
                return
            self._give_up(entry.name)
            self._drop_unreferenced()

    def _fits(self, n_bytes: int) -> bool:
        free = shutil.disk_usage(self._folder.path).free
        held = self.n_bytes + self._folder.parts_bytes
        return held + n_bytes <= min(self._limit_bytes, _DISK_SHARE * (free + held))

    def drop(self, name: str) -> None:
        """Give up a damaged program, and those of its weights that are damaged or not needed."""
        with contextlib.suppress(OSError), self._folder.changing():
            files: Sequence[str] = ()
            with contextlib.suppress(WireError):
                described = self._folder.described(name)
                files = described.file_names if described else ()
            shutil.rmtree(self._folder.program(name).parent, ignore_errors=True)
            for file in files:
                try:
                    check_weight_file(self._folder.weights(file))
                except WireError:
                    self._folder.weights(file).unlink(missing_ok=True)
                except FileNotFoundError:
                    continue
            self._drop_unreferenced()

    def _give_up(self, name: str) -> None:
        with contextlib.suppress(OSError), locked(self._folder.lock_file(name)):
            shutil.rmtree(self._folder.program(name).parent)

    def _drop_unreferenced(self) -> None:
        needed: set[str] = set()
        for folder in self._folder.programs():
            with contextlib.suppress(WireError):
                described = self._folder.described(folder.name)
                needed |= set(described.file_names if described else ())
        for path in (self._folder.path / "weights").glob("*"):
            if path.name not in needed:
                path.unlink(missing_ok=True)

    def _entry(self, folder: Path) -> StoredProgram:
        n_bytes, used_s = 0, 0.0
        with contextlib.suppress(OSError, WireError):
            used_s = self._folder.program(folder.name).stat().st_mtime
            described = self._folder.described(folder.name)
            n_bytes = sum(dict(described.storages).values()) if described else 0
        return StoredProgram(folder.name, n_bytes, used_s, self._is_used(folder.name))

    def _is_used(self, name: str) -> bool:
        try:
            with locked(self._folder.lock_file(name)):
                return False
        except OSError:
            return self._folder.program(name).exists()
