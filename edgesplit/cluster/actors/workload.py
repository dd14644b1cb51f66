"""What the scheduler holds of each workload, and what it hands out: plans, handles, states."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgesplit.cluster.actors.bounded_policy import BoundedPolicy
from edgesplit.cluster.actors.recording import Recorded, Recording
from edgesplit.core.control.state import ControlState, Settings, current_profile
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.checked import bare
from edgesplit.core.policies.policy import Policy, score
from edgesplit.core.profile import Link, Profile
from edgesplit.core.tier import Tier

TierKnown = tuple[Tier, tuple[Link, ...]]  # what was measured of a tier, and its links


@dataclass(frozen=True)
class Workload:
    """A program on one input signature: what is known and wanted of it.

    policy_name: as the user named it, empty for a function.
    """

    id: str
    graph: Graph
    profile: Profile
    goal: Goal
    policy: Policy
    settings: Settings
    policy_name: str = ""


@dataclass(frozen=True)
class Activation:
    """A plan that the caller should send requests along. version counts up from 1.

    addresses: of every tier, by name. believed: the profile that it was chosen by.
    """

    version: int
    plan: Plan
    reason: str
    at_s: float
    addresses: Mapping[str, str]
    believed: Profile | None = None


@dataclass(frozen=True)
class TierHandle:
    """How to reach one tier: its actor for control, its address for payloads.

    host: the same for tiers that share a machine; empty: not known.
    """

    actor: Any
    address: str
    host: str = ""


@dataclass(frozen=True)
class WorkloadStatus:
    """One workload as it is seen now.

    policy: as the user named it, empty for a function. activation: the plan in force, for active_s
    seconds; None until the first one is ready. profile: as it is believed. lost: tiers that no plan
    may use: gone, or in doubt.
    """

    id: str
    graph: str
    policy: str
    activation: Activation | None
    active_s: float
    profile: Profile
    lost: tuple[str, ...]


class Loop:
    """The control loop of one workload."""

    def __init__(self, workload: Workload, state: ControlState) -> None:
        self.workload = workload
        self.state = state
        self.activation: Activation | None = None
        self.version = 0  # of the last activation
        self.saved_s = 0.0
        self.due_s = 0.0  # on the loops' clock, the next moment that it waits for
        self.changed = asyncio.Condition()
        self.recording = Recording()


def status_of(loop: Loop, now_s: float) -> WorkloadStatus:
    """What is to be seen of it at that moment of the scheduler's clock."""
    active_s = now_s - loop.activation.at_s if loop.activation else 0.0
    profile = current_profile(loop.state)
    lost = tuple(sorted(loop.state.lost | loop.state.away))
    names = (loop.workload.graph.name, loop.workload.policy_name)
    return WorkloadStatus(loop.workload.id, *names, loop.activation, active_s, profile, lost)


def recorded(loop: Loop) -> Recorded:
    """Its last events, to be replayed without what only its own session has.

    A policy that has a name is there as it had learned until then.
    """
    start, packed = loop.recording.kept(loop.state)
    workload = loop.workload
    policy = start.policy.policy if isinstance(start.policy, BoundedPolicy) else start.policy
    start = replace(start, policy=bare(policy) if workload.policy_name else score)
    return Recorded(workload.id, workload.policy_name, start, packed)
