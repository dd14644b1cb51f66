"""LoADPart: the cut of least seconds under the server's load, which comes back with every reply.

Source: Liu, Zheng, Li, Guo, ICDCS 2022, doi 10.1109/ICDCS54860.2022.00053.
Read: the abstract, and its authors' code for several users, hence `-style`.
Rule: k, the server's load factor, is the sliding mean of measured / profiled seconds, q that of
seconds in its queue. The cut of least local + bytes / bandwidth + k * remote seconds is taken,
unless with q it is no faster than staying local.
Ours: several servers are tried. One that was not used lately has the believed slowdown as its k
and a q of 0; theirs also hears of k with probes. Their search inside parallel branches, between
cuts, and their compression of payloads are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.cut_seconds import cut_seconds, only_away, profiled_s
from edgesplit.core.policies.load_factor import NOTHING_SEEN, TierLoads
from edgesplit.core.policies.uplink import least_plan, uplinks
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming


@dataclass(frozen=True)
class LoadPart:
    """The policy, and what the last requests met on the servers."""

    loads: TierLoads = NOTHING_SEEN

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy. Raises PlanError."""
        model = CostModel(graph, profile, goal)
        ways, servers = uplinks(model), profile.tiers[1:]
        factors = [1.0, *(self.loads.factor(tier) for tier in servers)]
        parts = cut_seconds(model, ways, profiled_s(profile, factors))
        queue_s = [0.0, *(self.loads.queue_s(tier.name) for tier in servers)]
        waits_s = np.array([[queue_s[way.server]] for way in ways])
        waits_s = only_away(np.repeat(waits_s, len(graph) + 1, axis=1))
        return least_plan(model, ways, parts.total_s + waits_s)

    def after(self, graph: Graph, profile: Profile, timings: Sequence[TierTiming]) -> "LoadPart":
        """With what one more request met."""
        return LoadPart(self.loads.after(profile, timings))
