"""Policies that learn from requests. What they have learned is their value: nothing changes."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.policy import Policy
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming


@runtime_checkable
class LearningPolicy(Protocol):
    """A policy, and what becomes of it after a request."""

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy."""

    def after(
        self, graph: Graph, profile: Profile, timings: Sequence[TierTiming]
    ) -> "LearningPolicy":
        """The policy that has also learned from one request. timings: in route order.

        profile: what was believed when the request came back.
        """


def after(policy: Policy, graph: Graph, profile: Profile, timings: Sequence[TierTiming]) -> Policy:
    """The policy after a request: itself, unless it learns."""
    return policy.after(graph, profile, timings) if isinstance(policy, LearningPolicy) else policy
