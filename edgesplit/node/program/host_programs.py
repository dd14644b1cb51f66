"""The programs that a process uses: on its host's disk where that can be, else in its memory."""

import contextlib
import logging
import os
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgesplit.errors import ConfigError, WireError
from edgesplit.node.program.arriving_files import ArrivingFiles
from edgesplit.node.program.arriving_memory import ArrivingMemory
from edgesplit.node.program.packed import Bytes, PackedProgram
from edgesplit.node.program.program_file import TOGETHER_BYTES, decode_program, program_name
from edgesplit.node.program.store import LIMIT_BYTES, ProgramStore
from edgesplit.node.program.weight_file import WeightLayout

FOLDER_VARIABLE, LIMIT_VARIABLE = "EDGESPLIT_CACHE", "EDGESPLIT_CACHE_BYTES"
_log = logging.getLogger(__name__)


def store_here() -> ProgramStore:
    """This host's, of this user. Raises ConfigError for a limit that is no number of bytes."""
    given = os.environ.get(LIMIT_VARIABLE, "")
    try:
        limit_bytes = float(given) if given else LIMIT_BYTES
    except ValueError:
        limit_bytes = -1.0
    if not limit_bytes >= 0:
        raise ConfigError(f"{LIMIT_VARIABLE} is a number of bytes, such as 2e9, given {given!r}")
    return ProgramStore(cache_folder(), limit_bytes)


def cache_folder() -> Path:
    """EDGESPLIT_CACHE, else `edgesplit` in the user's cache directory."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).absolute()
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a service of a user that has no home
        return Path(tempfile.gettempdir()) / f"edgesplit-{os.geteuid()}"
    return Path(base) / "edgesplit"


@dataclass(frozen=True)
class ProgramHere:
    """What a process has of one program. is_whole: it can be used.

    place: what is there is there for every process that names the same place. n_bytes: of each of
    its weight files, how many are there.
    """

    is_whole: bool
    place: str
    n_bytes: Mapping[str, int]


class HostPrograms:
    """Programs by name, for one process; each is kept from use() until done().

    In memory, where no file can be written, programs share what weight files they have in common.
    """

    def __init__(self, store: ProgramStore | None = None) -> None:
        self._store = store or store_here()
        self._is_on_disk = True
        self._memory = ArrivingMemory()
        self._memory_place = uuid.uuid4().hex
        self._in_memory: dict[str, tuple[PackedProgram, frozenset[str]]] = {}  # with its files
        self._layouts: dict[str, WeightLayout] = {}  # of files that somebody asked for

    def mapped(self, data: bytes, storages: Mapping[str, Bytes]) -> PackedProgram | None:
        """The program that `data` describes, for a process that has its weights itself, and use().

        None where no file can be written. Raises WireError for weights that are not its own.
        """
        if not self._is_on_disk:
            return None
        try:
            name = self._store.put(data, storages)
        except (OSError, ConfigError) as error:
            self._stay_in_memory(error)
            return None
        return self._store.use(name)

    def shared(self, name: str, storage: Bytes) -> Bytes | None:
        """The same bytes, in memory that all processes of this host share; None where they cannot.

        name: of the storage. For large ones, each of which has a file.
        """
        if not self._is_on_disk or storage.nbytes < TOGETHER_BYTES:
            return None
        try:
            return self._store.shared(name, storage)
        except (OSError, ConfigError) as error:
            self._stay_in_memory(error)
            return None

    @property
    def place(self) -> str:
        """As ProgramHere has it."""
        return self._store.place if self._is_on_disk else self._memory_place

    def has(self, data: bytes) -> ProgramHere:
        """What is here of the program that `data` describes, whose weights may come afterwards.

        Raises WireError for bytes that are no program.
        """
        described, name = decode_program(data), program_name(data)
        self._layouts |= described.layouts()
        is_whole = name in self._in_memory
        if self._is_on_disk and not is_whole:
            is_whole = self._store.has(name, described)
            if not is_whole:
                self._expect()
        there = {file: self._arriving.n_bytes(file) for file in described.file_names}
        return ProgramHere(is_whole, self.place, there)

    def give_part(self, file: str, start: int, stop: int) -> Bytes:
        """These bytes of a weight file. Raises WireError where they are not here."""
        for arriving in (self._memory, self._store.arriving):
            part = arriving.read(file, start, stop)
            if part is not None:
                return part
        raise WireError(f"weights {file[:12]} are not here any more")

    def take_part(self, file: str, start: int, part: Bytes) -> int:
        """Keep a part, from `start`, of a weight file of a program that has() was asked for.

        How many bytes of the file are here now, from its beginning: one that came too early waits
        for those before it. Raises WireError where what is here had to be given up, since it is
        damaged or the disk is full: ask again what is here.
        """
        layout = self._layouts.get(file)
        if layout is None:
            raise WireError(f"nobody asked for weights {file[:12]}; ask what is here first")
        if self._is_on_disk:
            try:
                return self._store.arriving.add(file, layout, start, part)
            except (OSError, ConfigError) as error:
                self._stay_in_memory(error)
                raise WireError("weights stay in memory from now on; ask what is here") from error
        return self._memory.add(file, layout, start, part)

    def take(self, data: bytes) -> str:
        """Keep a program whose weights have all come, on disk if that is possible; its name.

        Raises WireError where they have not: ask again what is here.
        """
        if self._is_on_disk:
            try:
                name = self._store.take(data)
            except (OSError, ConfigError) as error:
                self._stay_in_memory(error)
        if not self._is_on_disk:
            name = self._take_in_memory(data)
        for file in decode_program(data).file_names:
            self._layouts.pop(file, None)
        return name

    def use(self, name: str) -> PackedProgram | None:
        """The program, its weights mapped where they lie on disk; None where it is not here."""
        packed, _ = self._in_memory.get(name, (None, None))
        return packed or self._store.use(name)

    def done(self, name: str) -> None:
        """This process does not need it any more."""
        if self._in_memory.pop(name, None):
            self._memory.keep_only(
                {file for _, files in self._in_memory.values() for file in files}
            )
        self._store.done(name)

    def own_folder(self, name: str) -> Path | None:
        """Where what belongs to the program may be kept; None where it is only in memory."""
        return None if name in self._in_memory else self._store.own_folder(name)

    def close(self) -> None:
        """Use nothing any more."""
        self._in_memory.clear()
        self._memory.keep_only(())
        self._store.close()

    @property
    def _arriving(self) -> ArrivingFiles | ArrivingMemory:
        return self._store.arriving if self._is_on_disk else self._memory

    def _expect(self) -> None:
        """Find out whether files can be written, before weights come."""
        try:
            self._store.arriving.expect()
        except (OSError, ConfigError) as error:
            self._stay_in_memory(error)

    def _stay_in_memory(self, why: Exception) -> None:
        _log.warning("programs stay in memory, a copy in each process: %s", why)
        self._is_on_disk = False
        if isinstance(why, OSError):  # such as a full disk: what has come is of no use there
            for file in self._layouts:
                with contextlib.suppress(OSError):
                    self._store.arriving.drop(file)

    def _take_in_memory(self, data: bytes) -> str:
        name, described = program_name(data), decode_program(data)
        known: dict[str, Bytes] = {}
        for file, layout in described.layouts().items():
            known |= self._memory.storages(file, layout)
        packed = described.packed().on(known[one] for one, _ in described.storages)
        self._in_memory[name] = packed, frozenset(described.file_names)
        return name
