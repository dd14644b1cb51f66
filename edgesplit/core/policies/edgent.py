"""Edgent without exits: one cut by regressed layer times and the bandwidth, within a deadline.

Source: Li, Zeng, Zhou, Chen, IEEE TWC 19(1), 2020, arXiv 1910.05316.
Read: the abstract; the rule is recalled, hence `-style`.
Rule: layer times on device and server come from a regression per kind of layer, made offline. For
each exit, from the most accurate one on, the cut of least device + server + bytes / bandwidth
seconds is found; the first exit that keeps the deadline is taken.
Ours: models here have no exits, so that the last one is all there is: its fastest cut, whether it
keeps the deadline or not. There the server runs the head and the device the tail; here the device,
where the input is and a plan begins, runs the head. Several servers are tried. The map from
states of the bandwidth to cuts (their dynamic mode) chooses the same without exits.
"""

from dataclasses import dataclass

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.cut_seconds import cut_seconds
from edgesplit.core.policies.regression import regressed_s
from edgesplit.core.policies.uplink import least_plan, uplinks
from edgesplit.core.profile import Profile


@dataclass(frozen=True)
class Edgent:
    """The policy. It knows the bandwidth now, and no load, neither the device's nor a server's."""

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy. Raises PlanError."""
        model = CostModel(graph, profile, goal)
        ways = uplinks(model)
        parts = cut_seconds(model, ways, regressed_s(graph, profile))
        return least_plan(model, ways, parts.total_s)
