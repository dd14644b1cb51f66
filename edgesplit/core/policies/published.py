"""The published policies by name: where each is from, and what of it was read."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgesplit.core.policies.dads import Dads
from edgesplit.core.policies.neurosurgeon import Neurosurgeon
from edgesplit.core.policies.pipeedge import PipeEdge
from edgesplit.core.policies.policy import Policy
from edgesplit.core.policies.scission import Scission


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


_NEUROSURGEON = "Kang et al., ASPLOS 2017, doi 10.1145/3037697.3037698"
_RECALLED = "the abstract; the rule is recalled"

_ALL: tuple[Published, ...] = (
    Published("neurosurgeon-style", _NEUROSURGEON, _RECALLED, Neurosurgeon()),
    Published("neurosurgeon-energy-style", _NEUROSURGEON, _RECALLED, Neurosurgeon("energy")),
    Published("dads", "Hu et al., INFOCOM 2019, doi 10.1109/INFOCOM.2019.8737614",
              "the full text", Dads()),
    Published("scission", "Lockhart et al., UCC 2020, arXiv 2008.03523", "the source", Scission()),
    Published("pipeedge", "Hu et al., DSD 2022, arXiv 2110.14895", "the source", PipeEdge()),
)  # fmt: skip
PUBLISHED: Mapping[str, Published] = {one.name: one for one in _ALL}
