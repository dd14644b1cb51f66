"""DynaSplit: the plan of least energy within the latency limit, by what was measured offline.

Source: May, Tundo, Ilager, Brandic, arXiv 2410.23881, 2024.
Read: the source.
Rule: offline the configurations are found that no other beats in both latency and energy. Online
they are sorted by energy and the first whose latency is within the request's limit is taken, else
the fastest. The network is not looked at again: the front is that of the first profile.
Ours: the front of all plans and runtimes, their baseline `grid`, where their own search samples
20 % of the space; models lose nothing, so their third objective, accuracy, is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.planner.choose import choose
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming


@dataclass(frozen=True)
class DynaSplit:
    """The policy, and what it keeps of the offline phase: the first graph and profile.

    Where tiers have other runtimes than then, what is at hand now is the offline phase.

    The front's first plan within the limit is the plan of least energy within it: whatever takes
    less is too slow. So the planner finds it, and no list is kept that another goal would outdate.
    Energy is that of all tiers, within the goal's boundary; its other limits hold. Tiers, links and
    runtimes that are gone are not used. first: None before the first request, when the profile at
    hand is the first one.
    """

    first: tuple[Graph, Profile] | None = None

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy."""
        offline = self.first[1] if self.first and self._holds(graph, profile) else profile
        plan = choose(CostModel(graph, _still_there(offline, profile), _least_energy(goal))).plan
        return plan.as_offered(profile.offered)

    def after(self, graph: Graph, profile: Profile, timings: Sequence[TierTiming]) -> "DynaSplit":
        """With the first profile kept; later ones change nothing."""
        return self if self._holds(graph, profile) else DynaSplit((graph, profile))

    def _holds(self, graph: Graph, profile: Profile) -> bool:
        if self.first is None or self.first[0] != graph:
            return False
        then, now = self.first[1].offered, profile.offered
        return all(set(then.get(name, there)) == set(there) for name, there in now.items())


def _least_energy(goal: Goal) -> Goal:
    """Least energy of all tiers within the limit as expected; nothing lossy, no prices."""
    return replace(
        goal, end_energy=0.0, total_energy=1.0, latency=0.0, load=0.0, temperature=0.0, memory=0.0,
        probability=None, max_accuracy_loss=None,
    )  # fmt: skip


def _still_there(offline: Profile, now: Profile) -> Profile:
    """The offline profile with the tiers and links that there are now, and no codecs."""
    gone = [name for name in offline.names if name not in now.names]
    links = tuple(ln for ln in offline.links if now.link(*ln.pair) is not None)
    return replace(offline, links=links, codecs=()).without_tiers(gone)
