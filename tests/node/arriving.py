"""Programs on their way to a process, as a session sends them, without Ray."""

import torch
from torch import nn

from edgesplit.node.program.export.model import export
from edgesplit.node.program.program_file import DescribedProgram, decode_program
from edgesplit.node.program.shipping import pack

PART_BYTES = 1 << 18


def described(seed=0, wide=600):
    """A program with a large weight (1.4 MB) that all seeds share, and small ones that differ."""
    torch.manual_seed(7)
    large = nn.Linear(wide, wide)
    torch.manual_seed(seed)
    model = nn.Sequential(large, nn.ReLU(), nn.Linear(wide, 3))
    exported = export(model.eval(), (torch.zeros(2, wide),))
    return DescribedProgram.of(pack(exported.program))


def layouts(program):
    return decode_program(program.description).layouts()


def part(program, file, start, n_bytes=PART_BYTES):
    """Some of a weight file, from `start`."""
    layout = layouts(program)[file]
    return layout.part(program.packed.by_name, start, min(start + n_bytes, layout.n_bytes))


def largest(program):
    """The name of its largest weight file."""
    known = layouts(program)
    return max(known, key=lambda file: known[file].n_bytes)


def fetch(programs, program, most_parts=10_000):
    """Send what `programs` lacks, at most so many parts; how many bytes of weights were sent."""
    sent, here = 0, programs.has(program.description).n_bytes
    for file, layout in layouts(program).items():
        at = here[file]
        while at < layout.n_bytes and most_parts:
            piece = part(program, file, at)
            at, sent, most_parts = programs.take_part(file, at, piece), sent + piece.nbytes, (
                most_parts - 1
            )  # fmt: skip
    return sent
