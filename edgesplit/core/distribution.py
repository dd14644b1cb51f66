"""Who sends which part of a program's weights to whom: the caller sends each byte once, if it can.

Decides only; cluster/session/shipment.py sends. Tiers that lack files take them from beginning to
end. A part comes from a tier that has it, else from the caller, unless the caller is sending it to
another tier already: then it soon comes from that one.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from edgesplit.core.record import CALLER

PART_BYTES = 4 << 20  # small beside the 75 MB of an end device's object store
_MOST_UNDER_WAY = 4  # parts, to one tier
_QUICK_S = 1.0  # a tier that takes a part in less is sent several at once


@dataclass(frozen=True)
class Part:
    """Bytes [start, stop) of a file, from `source` to `tier`."""

    source: str
    tier: str
    file: str
    start: int
    stop: int


class Distribution:
    """Of one program's files, whose bytes are `sizes`.

    there: by tier, how many bytes of each file it has; tiers that have all of them only give.
    barred: pairs (source, tier) that did not work.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        there: Mapping[str, Mapping[str, int]],
        barred: Collection[tuple[str, str]] = (),
    ) -> None:
        self._sizes, self._barred = sizes, barred
        self._there = {tier: dict(files) for tier, files in there.items()}
        self._under_way: set[Part] = set()
        self._early: set[Part] = set()  # came before others of their file that are under way
        self._wide: set[str] = set()  # tiers that take several parts at once
        self._bytes_per_s: dict[tuple[str, str], float] = {}
        self._left: set[str] = set()

    def lacking(self, tier: str) -> int:
        """How many bytes the tier lacks."""
        return sum(size - self._there[tier][file] for file, size in self._sizes.items())

    def next(self) -> list[Part]:
        """What is to be sent now, beside what is under way."""
        wanted = []
        for tier in self._there:
            most = _MOST_UNDER_WAY if tier in self._wide else 1
            while tier not in self._left and len(self._to(tier)) < most:
                part = self._part_for(tier)
                if part is None:
                    break
                self._under_way.add(part)
                wanted.append(part)
        return wanted

    def arrived(self, part: Part, n_bytes: int, seconds: float) -> None:
        """A part has come, `seconds` after it was sent: so many bytes of its file are there now.

        Fewer than before where it overtook others.
        """
        self._under_way.discard(part)
        there = self._there[part.tier]
        there[part.file] = max(n_bytes, there[part.file])
        early = {one for one in self._early if one.stop > self._there[one.tier][one.file]}
        self._early = early | ({part} if part.stop > there[part.file] else set())
        pair, figure = (part.source, part.tier), (part.stop - part.start) / max(seconds, 1e-9)
        self._bytes_per_s[pair] = (self._bytes_per_s.get(pair, figure) + figure) / 2
        if seconds < _QUICK_S:
            self._wide.add(part.tier)
        else:
            self._wide.discard(part.tier)

    def leave_out(self, tier: str) -> None:
        """Send nothing more to or from a tier for which something went wrong."""
        self._left.add(tier)
        self._under_way -= set(self._to(tier))

    def _to(self, tier: str) -> list[Part]:
        return [part for part in self._under_way if part.tier == tier]

    def _of(self, parts: Collection[Part], tier: str, file: str) -> list[Part]:
        return [part for part in parts if (part.tier, part.file) == (tier, file)]

    def _part_for(self, tier: str) -> Part | None:
        """The next part that the tier lacks; None where nobody can send it now, or there is none.

        A file is begun when the one before it has been asked for.
        """
        for file, size in self._sizes.items():
            start = self._asked(tier, file)
            if start < size:
                stop = min(start + PART_BYTES, size)
                source = self._source(tier, file, start, stop)
                return None if source is None else Part(source, tier, file, start, stop)
        return None

    def _asked(self, tier: str, file: str) -> int:
        """Up to where the tier has the file or is being sent it."""
        coming = self._of(self._under_way | self._early, tier, file)
        return max([self._there[tier][file], *(part.stop for part in coming)])

    def _source(self, tier: str, file: str, start: int, stop: int) -> str | None:
        others = [
            other
            for other, files in self._there.items()
            if files[file] >= stop and other != tier and other not in self._left
        ]
        able = [other for other in others if (other, tier) not in self._barred]
        if able:  # each is tried once, then the quickest
            return max(able, key=lambda other: self._bytes_per_s.get((other, tier), math.inf))
        is_coming = any(
            (part.source, part.file) == (CALLER, file) and part.start < stop and part.stop > start
            for part in self._under_way | self._early
            if part.tier != tier
            and part.tier not in self._left
            and (part.tier, tier) not in self._barred
        )
        return None if is_coming else CALLER
