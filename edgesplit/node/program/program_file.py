"""A packed program's description as bytes: everything but its weights, which it names by content.

Typed by msgspec, versioned, and checked when it is read: a tier builds nothing from it that it
could not have built from the list of operators. The name of a program is the SHA-256 of this.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from edgesplit.errors import WireError
from edgesplit.node.program.packed import PackedProgram, WeightForm
from edgesplit.node.program.weight_file import WeightLayout, weight_layout

FORMAT = 1
_NAME_DIGITS = 32
TOGETHER_BYTES = 1 << 20  # storages below this share one file per program


class ProgramFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """structure: as structure_codec.py has it. storages: names and bytes, in the forms' order.

    files: per storage the position in file_names of the file that holds it.
    """

    format: int
    structure: bytes
    forms: tuple[WeightForm, ...]
    storages: tuple[tuple[str, int], ...]
    files: tuple[int, ...]
    file_names: tuple[str, ...]
    n_layers: int
    fingerprint: str

    def storages_of(self, file: int) -> tuple[str, ...]:
        """Names of the storages in that one of its files, each once, in order."""
        pairs = zip(self.storages, self.files, strict=True)
        return tuple(dict.fromkeys(name for (name, _), place in pairs if place == file))

    def layouts(self) -> dict[str, WeightLayout]:
        """Of its files, by their names."""
        sizes = dict(self.storages)
        return {
            file: weight_layout({name: sizes[name] for name in self.storages_of(number)})
            for number, file in enumerate(self.file_names)
        }

    def packed(self) -> PackedProgram:
        """The program without its weights."""
        names = tuple(name for name, _ in self.storages)
        return PackedProgram(self.structure, self.forms, (), self.n_layers, self.fingerprint, names)


def describe(packed: PackedProgram) -> ProgramFile:
    """What is said of a program, and in which files its weights lie.

    Large storages have a file each, so that programs that share them share the file; small ones
    lie together.
    """
    sizes = packed.by_name
    small = {n: s for n, s in sizes.items() if s.nbytes < TOGETHER_BYTES}
    large = [{n: s} for n, s in sizes.items() if s.nbytes >= TOGETHER_BYTES]
    groups = [*([small] if small else []), *large]
    place = {name: number for number, group in enumerate(groups) for name in group}
    return ProgramFile(
        format=FORMAT,
        structure=packed.structure,
        forms=packed.forms,
        storages=tuple((name, sizes[name].nbytes) for name in packed.names),
        files=tuple(place[name] for name in packed.names),
        file_names=tuple(map(_file_name, groups)),
        n_layers=packed.n_layers,
        fingerprint=packed.fingerprint,
    )


def file_alone(storage: str) -> str:
    """Name of the file that holds a large storage of that name, and nothing else."""
    return _file_name([storage])


def encode_program(described: ProgramFile) -> bytes:
    """As it lies on disk and travels."""
    return msgspec.msgpack.encode(described)


def decode_program(data: bytes) -> ProgramFile:
    """Raises WireError for bytes that are no program, or one of another version."""
    try:
        version = msgspec.msgpack.decode(data, type=_Version).format
        if version != FORMAT:
            raise WireError(
                f"a program of format {version}, this EdgeSplit reads {FORMAT}; install the same "
                "version on every machine"
            )
        found = msgspec.msgpack.decode(data, type=ProgramFile)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise WireError(f"no program: {error}") from error
    _check(found)
    return found


def program_name(data: bytes) -> str:
    """What the program of these bytes is called."""
    return hashlib.sha256(data).hexdigest()[:_NAME_DIGITS]


def _file_name(group: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(group).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class DescribedProgram:
    """A packed program with its description, which is all but its weights, and its name."""

    packed: PackedProgram
    description: bytes
    name: str

    @staticmethod
    def of(packed: PackedProgram) -> "DescribedProgram":
        """The same with both."""
        description = encode_program(describe(packed))
        return DescribedProgram(packed, description, program_name(description))


class _Version(msgspec.Struct):
    format: int


def _check(found: ProgramFile) -> None:
    if len(found.files) != len(found.storages):
        raise WireError("no program: not every storage lies in a file")
    if any(not 0 <= place < len(found.file_names) for place in found.files):
        raise WireError("no program: a storage lies in no file")
    for name in (*dict(found.storages), *found.file_names):
        if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise WireError(f"no program: {name[:80]!r} is no name of weights")
    if any(n_bytes < 0 for _, n_bytes in found.storages):
        raise WireError("no program: a storage has less than no bytes")
    if any(_file_name(found.storages_of(n)) != name for n, name in enumerate(found.file_names)):
        raise WireError("no program: a file is not called by what lies in it")
    if any(not 0 <= form.storage < len(found.storages) for form in found.forms):
        raise WireError("no program: a weight lies in no storage")
