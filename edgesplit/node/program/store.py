"""The programs of a host as a process uses them: found by content, mapped by every process.

What has arrived whole has its hash checked, and gets its name by a rename: nobody sees half of it.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgesplit.errors import WireError
from edgesplit.node.program.arriving_files import ArrivingFiles
from edgesplit.node.program.kept_programs import KeptPrograms
from edgesplit.node.program.packed import Bytes, PackedProgram
from edgesplit.node.program.program_file import (
    ProgramFile,
    decode_program,
    file_alone,
    program_name,
)
from edgesplit.node.program.store_folder import StoreFolder, boot
from edgesplit.node.program.weight_file import (
    map_weight_file,
    storage_name,
    weight_layout,
    write_weight_file,
)

LIMIT_BYTES = 20e9
_COMPARED_BYTES = 4 << 20
_log = logging.getLogger(__name__)


class ProgramStore:
    """The programs under `folder`, which is made when something is put in.

    kept: all of them. arriving: weight files of programs that are fetched.
    limit_bytes: of all of it together; never more than half of what the disk would have free.
    """

    def __init__(self, folder: Path, limit_bytes: float = LIMIT_BYTES) -> None:
        self._folder = StoreFolder(folder)
        self.kept = KeptPrograms(self._folder, limit_bytes)
        self.arriving = ArrivingFiles(self._folder, self.kept)
        self._held: dict[str, int] = {}  # descriptors of the locks of what this process uses

    def put(self, data: bytes, storages: Mapping[str, Bytes]) -> str:
        """Keep the program that `data` describes, unless it is there; its name.

        storages: all of its own, by name. Raises WireError for others and for bytes that are no
        program, OSError, ConfigError.
        """
        described, name = decode_program(data), program_name(data)
        if not self.has(name, described):
            self._write(name, data, described, storages)
        return name

    def take(self, data: bytes) -> str:
        """Keep a program whose weight files have all arrived; its name.

        Raises WireError where they have not, or are damaged, OSError, ConfigError.
        """
        described, name = decode_program(data), program_name(data)
        self._folder.make_parts()
        lacking = {
            file: layout
            for file, layout in described.layouts().items()
            if not self._folder.weights(file).is_file()
        }
        arrived = {file: self.arriving.whole(file, layout) for file, layout in lacking.items()}
        with self._part() as part:
            self._name(name, data, part, arrived)
        return name

    def has(self, name: str, described: ProgramFile) -> bool:
        """Whether it is there, as far as one sees without reading it."""
        files = (self._folder.weights(file) for file in described.file_names)
        is_there = self._folder.program(name).is_file() and all(path.is_file() for path in files)
        return is_there and self._folder.is_own

    @property
    def place(self) -> str:
        """The same text in all processes that use this folder."""
        return self._folder.place

    def use(self, name: str) -> PackedProgram | None:
        """The program, its storages mapped, and kept from being given up until done().

        None where it is not there. What is damaged is dropped, and is not there; nor is anything
        in a folder that others may write to.
        """
        if not self._folder.is_own:
            return None
        self._hold(name)
        try:
            described = self._folder.described(name)
            if described is None:
                self.done(name)
                return None
            self._check_after_boot(name, described)
            storages = list(self._mapped(described))
        except (FileNotFoundError, WireError, KeyError) as error:
            _log.warning("program %s is damaged and is dropped: %s", name, error)
            self.done(name)
            self.kept.drop(name)
            return None
        except OSError as error:  # such as too few descriptors: it may be whole
            _log.warning("program %s cannot be read: %s", name, error)
            self.done(name)
            return None
        with contextlib.suppress(OSError):  # a disk that is only read
            os.utime(self._folder.program(name))
        return described.packed().on(storages)

    def shared(self, name: str, storage: Bytes) -> Bytes:
        """A large storage of that name, as mapped from a file of its own: the same bytes.

        The file is made where there is none, or one of other bytes. Raises OSError, ConfigError.
        """
        path = self._folder.weights(file_alone(name))
        if not (self._folder.is_own and _holds(path, name, storage)):
            self._folder.make_parts()
            with self._part() as part:
                write_weight_file(part / "weights", {name: storage})
                with self._folder.changing():
                    self.kept.make_room(0)
                    _renamed(part / "weights", path)
        return map_weight_file(path)[name]

    def done(self, name: str) -> None:
        """This process does not use the program any more. What is mapped stays valid."""
        handle = self._held.pop(name, None)
        if handle is not None:
            os.close(handle)

    def own_folder(self, name: str) -> Path | None:
        """Where what belongs to the program is kept, and given up with it; None where it is not."""
        return self._folder.program(name).parent if self._folder.is_own else None

    def close(self) -> None:
        """This process uses none of them any more."""
        for name in list(self._held):
            self.done(name)

    def _check_after_boot(self, name: str, described: ProgramFile) -> None:
        """Compare what was written before the machine last started with its names, once.

        Writing does not wait for the disk, which takes half a minute on an SD card: what the
        machine had in memory when its power failed may be zeros now. Raises WireError, OSError.
        """
        note = self._folder.boot_note(name)
        try:
            if note.read_text() == boot():
                return
        except FileNotFoundError:
            return
        self.kept.check(described)
        with contextlib.suppress(OSError):  # a disk that is only read
            note.unlink(missing_ok=True)

    def _mapped(self, described: ProgramFile) -> Iterator[Bytes]:
        """The storages in order. Two of the same content are mapped apart: they are two weights.

        Raises OSError, WireError, KeyError.
        """
        maps: dict[tuple[int, int], dict[str, Bytes]] = {}
        seen: Counter[str] = Counter()
        for (storage, n_bytes), place in zip(described.storages, described.files, strict=True):
            key = (place, seen[storage])
            seen[storage] += 1
            if key not in maps:
                maps[key] = map_weight_file(self._folder.weights(described.file_names[place]))
            yield _sized(maps[key][storage], n_bytes)

    def _write(
        self, name: str, data: bytes, described: ProgramFile, storages: Mapping[str, Bytes]
    ) -> None:
        self._folder.make_parts()
        with self._part() as part:
            written = {}
            for number, file in enumerate(described.file_names):
                if not self._folder.weights(file).is_file():
                    _write_checked(part / file, described.storages_of(number), storages)
                    written[file] = part / file
            self._name(name, data, part, written)

    def _name(self, name: str, data: bytes, part: Path, files: Mapping[str, Path]) -> None:
        """Give a program and its weight files, which are whole and right, their names."""
        (part / "program").write_bytes(data)
        (part / "boot").write_text(boot())
        with self._folder.changing():
            self.kept.make_room(0)
            for file, path in files.items():
                if not self._folder.weights(file).is_file():  # others may fetch the same
                    _renamed(path, self._folder.weights(file))
            _renamed(part / "boot", self._folder.boot_note(name))
            _renamed(part / "program", self._folder.program(name))
        for file in files:
            self.arriving.drop(file)

    @contextlib.contextmanager
    def _part(self) -> Iterator[Path]:
        """A folder of this process's own, gone afterwards."""
        part = self._folder.parts / uuid.uuid4().hex
        part.mkdir()
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _hold(self, name: str) -> None:
        """Mark it as used, if it is there."""
        if name in self._held or not self._folder.program(name).exists():
            return
        with contextlib.suppress(OSError):
            lock = self._folder.lock_file(name)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self._held[name] = handle


def _write_checked(path: Path, names: Sequence[str], storages: Mapping[str, Bytes]) -> None:
    """Raises WireError for a storage that is missing, or has other bytes than its name says."""
    for name in names:
        if name not in storages or storage_name(storages[name]) != name:
            raise WireError(f"storage {name[:12]} has not come, or is damaged; send it again")
    write_weight_file(path, {name: storages[name] for name in names})


def _holds(path: Path, name: str, storage: Bytes) -> bool:
    """Whether the file has these bytes under that name; read in parts, to take no memory for it."""
    layout = weight_layout({name: storage.nbytes})
    start, stop = layout.spans[name]
    part = np.empty(min(_COMPARED_BYTES, storage.nbytes), np.uint8)
    try:
        with path.open("rb") as file:
            is_whole = os.fstat(file.fileno()).st_size == layout.n_bytes
            if not is_whole or file.read(start) != layout.header:
                return False
            for at in range(start, stop, len(part)):
                wanted = storage[at - start : at - start + len(part)]
                there = part[: len(wanted)]
                if file.readinto(there.data) != len(wanted) or not np.array_equal(there, wanted):
                    return False
    except OSError:
        return False
    return True


def _sized(storage: Bytes, n_bytes: int) -> Bytes:
    if storage.nbytes != n_bytes:
        raise WireError(f"a storage has {storage.nbytes} bytes instead of {n_bytes}")
    return storage


def _renamed(part: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part.replace(path)
