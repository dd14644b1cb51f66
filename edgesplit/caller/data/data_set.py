"""A data set: examples that are read one at a time, when they are asked for, and parts of it."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from edgesplit.caller.data.example import Example
from edgesplit.core.given import is_whole, whole_from_1
from edgesplit.core.printable import printable
from edgesplit.errors import InputError

_MOST = 1 << 40


@dataclass(frozen=True, eq=False, repr=False)
class DataSet:
    """Examples by position, in memory one at a time.

    name: as it was opened. read(index): the example; raises InputError where it cannot be read.
    indices: those that are part of it, in order. classes: the names of labels; empty where none
    are known.
    """

    name: str
    read: Callable[[int], Example]
    indices: Sequence[int]
    classes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        classes = f", {len(self.classes):,} classes" if self.classes else ""
        return f"<DataSet {printable(self.name)}, {len(self):,} examples{classes}>"

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Example:
        return self.read(self.indices[position])

    def __iter__(self) -> Iterator[Example]:
        return map(self.read, self.indices)

    def first(self, n: int) -> "DataSet":
        """Its first n examples, all where it has fewer. Raises InputError for no number from 1."""
        return replace(self, indices=self.indices[: _count(n)])

    def sample(self, n: int, seed: int = 0) -> "DataSet":
        """n of its examples, drawn by the seed, in order; all where it has fewer.

        Raises InputError for no number from 1, or no whole seed.
        """
        if not is_whole(seed):
            raise InputError(f"seed must be a whole number, given {seed!r}")
        if _count(n) >= len(self):
            return self
        drawn = sorted(random.Random(int(seed)).sample(range(len(self)), n))
        return replace(self, indices=[self.indices[position] for position in drawn])


def _count(n: int) -> int:
    return whole_from_1("the number of examples", n, InputError, _MOST)
