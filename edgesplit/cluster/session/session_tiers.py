"""The tiers that a session has: opened, emulated, reached; and what each said of itself."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from ray.exceptions import ActorUnavailableError

from edgesplit.cluster.actors.workload import TierHandle
from edgesplit.cluster.measure.links import probe_links
from edgesplit.cluster.measure.meter_conflicts import own_meters
from edgesplit.cluster.measure.runtimes import Runtimes
from edgesplit.cluster.session.launch_actors import open_tier
from edgesplit.cluster.session.membership import ClusterMembership, SessionActors
from edgesplit.config import EMBEDDED_EMULATION, Config
from edgesplit.core.goal import Goal
from edgesplit.core.profile import Link
from edgesplit.errors import ClusterError
from edgesplit.node.tier.emulate import Emulation
from edgesplit.node.tier.tier_session import Opened
from edgesplit.node.tier.tier_sessions import SILENT_S

_AGAIN_S = 0.5  # before a tier that is starting anew is asked again
# Nobody asks after a session before it is ready: after so long a tier may soon give it up.
_WITHOUT_WORD_S = SILENT_S / 3


class SessionTiers:
    """By name. opened: what each said. handles: how to reach it, once all have been met.

    wanted: roles and names of nodes, as the user has them. emulation: the one in force.
    """

    def __init__(self, membership: ClusterMembership, config: Config) -> None:
        self._membership = membership
        self.wanted, self.emulation = config.tiers, Emulation()
        self.opened: dict[str, Opened] = {}
        self._began_s = 0.0
        self.handles: dict[str, TierHandle] = {}

    def begin(self, now: SessionActors) -> None:
        """They begin to start there."""
        self._began_s = time.monotonic()
        default = EMBEDDED_EMULATION if now.placement.is_embedded else Emulation()
        given = now.settings.config.emulation
        self.emulation = given if given is not None else default

    def open(self, now: SessionActors) -> dict[str, TierHandle]:
        """Wait until every tier listens; how to reach each.

        Raises ClusterError, RuntimeUnavailableError for a tier that could run nothing.
        """
        opened = {tier: self._opened_on(now, tier, call) for tier, call in now.opening.items()}
        if time.monotonic() - self._began_s > _WITHOUT_WORD_S:
            again = {tier: self._opening(now, tier) for tier in opened}
            opened = {tier: self._opened_on(now, tier, call) for tier, call in again.items()}
        config = now.settings.config
        Runtimes(now.call_log, opened, config, self._membership.answer).check()
        self.opened = own_meters(opened, config.meters, self._use_model)
        return {tier: _handle(now, tier, said) for tier, said in self.opened.items()}

    def open_again(self, now: SessionActors, tier: str) -> str:
        """Open a tier whose actor has been started anew; its incarnation. Raises ClusterError."""
        opened = self._opened_on(now, tier, self._opening(now, tier))
        self.opened[tier] = replace(self.opened[tier], address=opened.address)
        self.handles[tier] = _handle(now, tier, opened)
        return opened.incarnation

    def open_one(self, now: SessionActors, tier: str) -> Opened:
        """Open a tier that is to join, and have it emulate what it has to. Raises as open()."""
        opened = self._opened_on(now, tier, self._opening(now, tier))
        log, get = now.call_log.only(tier), self._membership.answer
        Runtimes(log, {tier: opened}, now.settings.config, get).check()
        get(log.call(tier, "emulate", self.emulation.tier(tier)), f"tier {tier!r} to emulate")
        return opened

    def take(self, now: SessionActors, tier: str, opened: Opened) -> TierHandle:
        """Have a tier that was opened by open_one()."""
        self.opened[tier] = opened
        self.handles[tier] = _handle(now, tier, opened)
        return self.handles[tier]

    def addresses(self) -> dict[str, str]:
        """The data plane's address of each tier."""
        return {tier: handle.address for tier, handle in list(self.handles.items())}

    @property
    def entry(self) -> str:
        """The one that holds the input."""
        return self._membership.now.settings.config.tiers[0]

    @property
    def without_torch(self) -> frozenset[str]:
        """Tiers that cannot tell by themselves whether an answer is right."""
        opened = list(self.opened.items())
        return frozenset(tier for tier, said in opened if not said.has_torch)

    def goal_here(self, goal: Goal) -> Goal:
        """The same for the tiers there are: a limit of a role is each of its nodes'."""
        now = self._membership.now
        config, limits, most = now.settings.config, dict(goal.memory_bytes), goal.max_stages
        for name, role in now.placement.roles.items():
            if role in goal.memory_bytes:
                limits.setdefault(name, goal.memory_bytes[role])
        if most is None and len(config.tiers) > config.max_stages:
            most = config.max_stages
        known = {name: limit for name, limit in limits.items() if name in config.tiers}
        return replace(goal, memory_bytes=known, max_stages=most)

    # Emulation

    @property
    def is_emulated(self) -> bool:
        """Whether any figure of this session passed through the emulation."""
        return self._membership.is_open and not self.emulation.is_off

    @property
    def mark(self) -> str:
        """Before the provenance of what is measured."""
        return "emulated, " if self.is_emulated else ""

    def emulate(self, emulation: Emulation) -> None:
        """Slow tiers and shape links from now on; returns when all tiers do so."""
        self._membership.tell(
            "emulate", lambda tier: (emulation.tier(tier),), "to take the emulation"
        )
        self.emulation = emulation

    # Links

    def links(self) -> tuple[Link, ...]:
        """Each that the emulation leaves, probed. As probe_links()."""
        pairs = [(u, v) for u in self.handles for v in self.handles if u != v]
        return probe_links(self.handles, self._linked(pairs), self.mark, self._membership.answer)

    def links_of(self, tier: str, now: SessionActors, opened: Opened) -> tuple[Link, ...]:
        """The same of one tier with all others."""
        others = [other for other in self.handles if other != tier]
        pairs = [pair for other in others for pair in ((other, tier), (tier, other))]
        handles = {**self.handles, tier: _handle(now, tier, opened)}
        return probe_links(handles, self._linked(pairs), self.mark, self._membership.answer)

    def _linked(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        shaped = self.emulation.links
        return [pair for pair in pairs if shaped is None or pair in shaped]

    # Opening

    def _opening(self, now: SessionActors, tier: str) -> Any:
        return open_tier(now.settings, now.placement, tier, now.call_log.actors[tier])

    def _opened_on(self, now: SessionActors, tier: str, call: Any) -> Opened:
        """What the tier says once it is open; call: the first question.

        An actor that serves others, too, may just be starting anew. Raises ClusterError.
        """
        until_s = time.monotonic() + now.settings.config.start_timeout_s
        while True:
            try:
                left_s = max(1.0, until_s - time.monotonic())
                found: Opened = self._membership.answer(call, f"tier {tier!r} to start", left_s)
                return found
            except ClusterError as error:
                is_restarting = isinstance(error.__cause__, ActorUnavailableError)
                if not is_restarting or time.monotonic() > until_s:
                    raise
            time.sleep(_AGAIN_S)
            call = self._opening(now, tier)

    def _use_model(self, tier: str, why: str) -> Opened:
        call = self._membership.now.call_log.call(tier, "use_model", why)
        return cast(Opened, self._membership.answer(call, f"tier {tier!r}"))


def _handle(now: SessionActors, tier: str, opened: Opened) -> TierHandle:
    return TierHandle(now.call_log.actors[tier], opened.address, opened.host)
