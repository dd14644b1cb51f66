"""Policies that are asked before each request, as their papers have them: no hysteresis, no probes.

They are told rates and slowdowns (World.told) for nothing, and switch at once and for nothing. A
tier that was silent is left out of what they are told until it answers, by the product's rule, as
if probes cost nothing.
"""

import contextlib
from typing import Protocol

from edgesplit.core.control.event import Transferring
from edgesplit.core.control.state import Settings
from edgesplit.core.control.trust import Trusts, after_probe, after_request, doubted
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.policies.learning import LearningPolicy, after
from edgesplit.core.policies.policy import Policy
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import PlanError
from experiments.head_to_head.simulation import Simulation
from experiments.head_to_head.world import World


class ToldBefore:
    """What policies are told before each request, the same for all of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._kept: dict[float, Profile] = {}

    def at(self, at_s: float) -> Profile:
        """See World.told."""
        if at_s not in self._kept:
            self._kept[at_s] = self.world.told(at_s)
        return self._kept[at_s]


class HasTime(Protocol):
    """A clock."""

    @property
    def now_s(self) -> float:
        """Seconds since requests began."""


class EachRequest:
    """Drives one policy. It keeps its last plan where it has none now, at first all on the end."""

    has_looks = False
    hedge = 0.0

    def __init__(self, policy: Policy, told: ToldBefore, goal: Goal) -> None:
        self._policy, self._told, self._goal = policy, told, goal
        world = told.world
        self._graph, self._world = world.graph, world
        self._plan = plan_along((world.profile.entry_tier,), (), len(world.graph))
        self._trusts: Trusts = {}
        self._probed_s = 0.0

    @property
    def believed(self) -> Profile:
        """See Driver: how long to wait for a tier follows from what it was calibrated with."""
        return self._world.profile

    def start(self, simulation: Simulation) -> None:
        """See Driver."""
        self.begin(simulation.clock)

    def begin(self, clock: "HasTime") -> None:
        """Requests begin to come by that clock."""
        self._clock = clock

    def plan(self, at_s: float) -> Plan:
        """See Driver."""
        self._probe(at_s)
        profile = self._told.at(at_s)
        away = doubted(self._trusts)
        if away:
            profile = profile.without(tuple(away))
        with contextlib.suppress(PlanError):  # it goes on with what it has, as the product does
            self._plan = self._policy(self._graph, profile, self._goal)
        return self._plan

    def returned(self, timings: tuple[TierTiming, ...]) -> None:
        """See Driver."""
        now_s = self._clock.now_s
        if any(timing.failed_over for timing in timings) or self._trusts:
            self._trusts = after_request(self._trusts, timings, now_s)
        if isinstance(self._policy, LearningPolicy):
            profile = self._world.told(now_s)
            self._policy = after(self._policy, self._graph, profile, timings)

    def moving(self, event: Transferring) -> None:
        """See Driver: it does not look."""

    def _probe(self, at_s: float) -> None:
        """Each tier in doubt is probed every half second; the answer comes at once."""
        every_s = Settings().probe_interval_s
        if not doubted(self._trusts):
            self._probed_s = at_s
        while self._probed_s + every_s <= at_s:
            self._probed_s += every_s
            for tier in doubted(self._trusts):
                if not self._world.is_lost(tier, self._probed_s):
                    self._trusts = after_probe(self._trusts, tier, self._probed_s)
