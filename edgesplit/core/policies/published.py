"""The published policies by name: where each is from, and what of it was read."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgesplit.core.policies.policy import Policy


@dataclass(frozen=True)
class Published:
    """A policy as others have published it.

    name: `-style` at its end where the source or the full text was not read. source: where it is
    published. basis: what of it was read. policy: as it is before the first request.
    """

    name: str
    source: str
    basis: str
    policy: Policy


_ALL: tuple[Published, ...] = ()
PUBLISHED: Mapping[str, Published] = {one.name: one for one in _ALL}
