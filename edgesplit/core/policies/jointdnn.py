"""JointDNN: the shortest path through layers on the mobile and in the cloud, one crossing of it.

Source: Eshratifar, Abrishami, Pedram, IEEE TMC 20(2), 2021, arXiv 1801.08618.
Read: the abstract; the rule is recalled, hence `-style`.
Rule: a graph has a mobile and a cloud node per layer; its arcs are running a layer here, uploading
or downloading a payload, in seconds or in the mobile's joules. The shortest path from the input to
the answer on the mobile is taken, within a limit of latency.
Ours: a plan runs one segment per tier, so that a path that comes back to the mobile before the end
cannot be said; what is left is one upload and the download of the answer. Several servers are
tried. Limits of battery and cloud load are left out: no goal states them.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.cut_seconds import charged_w, cut_seconds, only_away, profiled_s
from edgesplit.core.policies.uplink import allowed_cuts, least_plan, uplinks
from edgesplit.core.profile import Profile


@dataclass(frozen=True)
class JointDnn:
    """The policy. target: what is least. Tiers are as slow as believed now.

    The latency limit holds for `energy`; where no cut keeps it, the fastest is taken.
    """

    target: Literal["latency", "energy"] = "latency"

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy. Raises PlanError."""
        model = CostModel(graph, profile, goal)
        ways = uplinks(model)
        parts = cut_seconds(model, ways, profiled_s(profile, [t.slowdown for t in profile.tiers]))
        per_byte = np.array([[way.reply_s_per_byte] for way in ways])
        reply_s = only_away(np.repeat(per_byte * graph.output_bytes, len(graph) + 1, axis=1))
        latency_s, limit_s = parts.total_s + reply_s, goal.latency_limit_s or np.inf
        is_late = latency_s > limit_s
        if self.target == "latency" or is_late[allowed_cuts(model, ways)].all():
            return least_plan(model, ways, latency_s)
        watts = charged_w(model, 0)
        joules = parts.device_s * watts.compute_w + parts.upload_s * watts.transmit_w
        joules = joules + reply_s * watts.receive_w
        return least_plan(model, ways, np.where(is_late, np.inf, joules), latency_s)
