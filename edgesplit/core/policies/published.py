"""The published policies by name: where each is from, and what of it was read."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgesplit.core.policies.ans import Ans
from edgesplit.core.policies.dads import Dads
from edgesplit.core.policies.dynasplit import DynaSplit
from edgesplit.core.policies.edgent import Edgent
from edgesplit.core.policies.jointdnn import JointDnn
from edgesplit.core.policies.loadpart import LoadPart
from edgesplit.core.policies.neurosurgeon import Neurosurgeon
from edgesplit.core.policies.pipeedge import PipeEdge
from edgesplit.core.policies.policy import Policy
from edgesplit.core.policies.scission import Scission
from edgesplit.core.policies.spinn import Spinn


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
_JOINTDNN = "Eshratifar et al., IEEE TMC 20(2), 2021, arXiv 1801.08618"
_RECALLED = "the abstract; the rule is recalled"

_ALL: tuple[Published, ...] = (
    Published("neurosurgeon-style", _NEUROSURGEON, _RECALLED, Neurosurgeon()),
    Published("neurosurgeon-energy-style", _NEUROSURGEON, _RECALLED, Neurosurgeon("energy")),
    Published("dads", "Hu et al., INFOCOM 2019, doi 10.1109/INFOCOM.2019.8737614",
              "the full text", Dads()),
    Published("scission", "Lockhart et al., UCC 2020, arXiv 2008.03523", "the source", Scission()),
    Published("pipeedge", "Hu et al., DSD 2022, arXiv 2110.14895", "the source", PipeEdge()),
    Published("dynasplit", "May et al., arXiv 2410.23881, 2024", "the source", DynaSplit()),
    Published("ans", "Zhang et al., WWW 2021, arXiv 2102.02638", "the source", Ans()),
    Published("loadpart-style", "Liu et al., ICDCS 2022, doi 10.1109/ICDCS54860.2022.00053",
              "the abstract, and code of its authors for several users", LoadPart()),
    Published("edgent-style", "Li et al., IEEE TWC 19(1), 2020, arXiv 1910.05316", _RECALLED,
              Edgent()),
    Published("spinn-style", "Laskaridis et al., MobiCom 2020, arXiv 2008.06402", _RECALLED,
              Spinn()),
    Published("jointdnn-style", _JOINTDNN, _RECALLED, JointDnn()),
    Published("jointdnn-energy-style", _JOINTDNN, _RECALLED, JointDnn("energy")),
)  # fmt: skip
PUBLISHED: Mapping[str, Published] = {one.name: one for one in _ALL}
