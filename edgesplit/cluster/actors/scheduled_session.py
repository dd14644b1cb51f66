"""One session in the scheduler: answers its caller, and tells its control loops what happens.

It decides nothing itself and is never on the data path: while it is away, requests go on with the
last plan.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgesplit.cluster.actors.carry_out import ActionRunner
from edgesplit.cluster.actors.loops import ControlLoops
from edgesplit.cluster.actors.recording import Recorded
from edgesplit.cluster.actors.workload import (
    Activation,
    TierHandle,
    TierKnown,
    Workload,
    WorkloadStatus,
    recorded,
    status_of,
)
from edgesplit.core.control.event import (
    Activate,
    CodecsMeasured,
    GoalChanged,
    LayerTimesMeasured,
    Observed,
    RowDropped,
    Tick,
    TierAdded,
    TierJoined,
    TierLoaded,
    TierLost,
    Transferring,
)
from edgesplit.core.control.standing import Standing, standing
from edgesplit.core.control.state import current_profile
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.goal import Goal
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.payload_codec import CodecSizes, CodecSpeeds
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming
from edgesplit.node.process.imports import Imports

UNKNOWN_S = 0.5  # before a session or workload that is not known yet is asked for again


class ScheduledSession:
    """Its public async methods are what a session may call; they may run while others wait."""

    def __init__(self, session_id: str, incarnation: str) -> None:
        self.incarnation = incarnation
        self.loops = ControlLoops(session_id)
        self._runner = ActionRunner(self.loops)

    async def set_tiers(self, tiers: dict[str, TierHandle], imports: Imports) -> str:
        """Take the tiers, once they listen. imports: where policies are found. The incarnation."""
        imports.find()
        self._runner.tiers = tiers
        return self.incarnation

    @property
    def tiers(self) -> Mapping[str, TierHandle]:
        """How to reach each."""
        return self._runner.tiers

    async def begin(self, workload: Workload, version: int = 0) -> None:
        """Take up a workload and prepare its first plan. Raises what the policy raises.

        version: of the plan that the caller has already.
        """
        await self._runner.carry_out(*self.loops.begin(workload, version))

    async def resume(self, workload: Workload, version: int) -> None:
        """Go on with a workload after a restart: as the checkpoint has it, else from the start.

        version: of the plan that the caller has; later ones count on from there.
        """
        await self._runner.carry_out(*self.loops.resume(workload, version))

    async def add_tier(
        self, name: str, handle: TierHandle, workloads: Mapping[str, TierKnown]
    ) -> None:
        """A tier has joined: what is known of it, and of its links, by workload."""
        self._runner.tiers = {**self._runner.tiers, name: handle}
        for workload_id, (tier, links) in workloads.items():
            await self._runner.feed(workload_id, TierAdded(self.loops.now_s(), tier, links))

    async def mark_lost(self, tier: str) -> None:
        """A tier's actor does not answer: no plan uses it."""
        for workload_id in self.loops.ids:
            await self._runner.feed(workload_id, TierLost(self.loops.now_s(), tier))

    async def mark_back(self, tier: str, handle: TierHandle) -> None:
        """A tier's actor answers again, maybe at another address."""
        has_moved = self._runner.tiers[tier].address != handle.address
        self._runner.tiers[tier] = handle
        for workload_id in self.loops.ids:
            await self._runner.feed(workload_id, TierJoined(self.loops.now_s(), tier))
            loop = self.loops.get(workload_id)
            if has_moved and loop is not None and loop.state.active is not None:
                again = Activate(loop.state.active, f"{tier} is at another address")
                await self._runner.carry_out(loop, [again])

    async def set_goal(self, goal: Goal) -> None:
        """Choose every workload's plans for that goal from now on."""
        for workload_id in self.loops.ids:
            loop = self.loops.get(workload_id)
            if loop is not None:
                loop.workload = replace(loop.workload, goal=goal)
                await self._runner.feed(workload_id, GoalChanged(self.loops.now_s(), goal))

    async def end_workload(self, workload_id: str) -> None:
        """Forget a workload."""
        self.loops.end(workload_id)

    async def observe(self, workload_id: str, requests: Sequence[tuple[TierTiming, ...]]) -> None:
        """Learn from finished requests, oldest first."""
        for timings in requests:
            await self._runner.feed(workload_id, Observed(self.loops.now_s(), timings))

    async def transferring(
        self,
        workload_id: str,
        link: tuple[str, str],
        sent_bytes: int,
        seconds: float,
        is_over: bool,
    ) -> None:
        """Learn from a payload that has not arrived yet. See the event."""
        event = Transferring(self.loops.now_s(), *link, sent_bytes, seconds, is_over)
        await self._runner.feed(workload_id, event)

    async def add_layer_times(self, workload_id: str, tier: str, times: LayerTimes) -> None:
        """A tier can from now on run this workload in that runtime."""
        event = LayerTimesMeasured(self.loops.now_s(), tier, times)
        await self._runner.feed(workload_id, event)

    async def drop_layer_times(self, workload_id: str, tier: str, runtime: str, why: str) -> None:
        """A tier cannot run this workload in that runtime, or no longer: it failed its check."""
        await self._runner.feed(workload_id, RowDropped(self.loops.now_s(), tier, runtime, why))

    async def set_codecs(
        self, workload_id: str, codecs: tuple[CodecSizes, ...], speeds: CodecSpeeds
    ) -> None:
        """Payloads of this workload may from now on be written in these codecs, and no others."""
        await self._runner.feed(workload_id, CodecsMeasured(self.loops.now_s(), codecs, speeds))

    async def activation(
        self, workload_id: str, version: int, timeout_s: float
    ) -> Activation | None:
        """The active plan once it is newer than `version`; None if that takes too long."""
        loop = self.loops.get(workload_id)
        if loop is None:  # this is not the first start, and nobody has told of the workload yet
            await asyncio.sleep(min(timeout_s, UNKNOWN_S))
            return None

        def newer() -> bool:
            return loop.activation is not None and loop.activation.version > version

        async with loop.changed:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(loop.changed.wait_for(newer), timeout_s)
        return loop.activation if newer() else None

    async def profile(self, workload_id: str) -> Profile:
        """The profile as it is believed now."""
        return current_profile(self.loops.known(workload_id).state)

    async def standing(self, workload_id: str) -> Standing:
        """What would be chosen now, and why it is not in force where it is not."""
        return standing(self.loops.known(workload_id).state)

    async def away(self, workload_id: str) -> tuple[str, ...]:
        """Tiers that no plan of the workload may use now."""
        return tuple(sorted(self.loops.known(workload_id).state.away))

    async def status(self) -> tuple[dict[str, str], tuple[WorkloadStatus, ...]]:
        """The data plane's address of each tier, and every workload."""
        now_s = self.loops.now_s()
        workloads = (status_of(self.loops.known(name), now_s) for name in self.loops.ids)
        return dict(self._runner.addresses), tuple(workloads)

    async def recorded(self, workload_id: str) -> Recorded:
        """The last events of a workload and what was done about them."""
        return recorded(self.loops.known(workload_id))

    async def loaded(self, tier: str, host: HostLoad, demand_price: float) -> None:
        """What a tier's host says of itself, and the price of demand for the tier."""
        for workload_id in self.loops.ids:
            event = TierLoaded(self.loops.now_s(), tier, host, demand_price)
            await self._runner.feed(workload_id, event)

    async def tick(self) -> None:
        """Time has passed: loops for which something is due by now are told so."""
        for workload_id in self.loops.due():
            await self._runner.feed(workload_id, Tick(self.loops.now_s()))
        for workload_id in self.loops.ids:
            self.loops.save_where_due(workload_id)

    def close(self) -> None:
        """Forget all of it, and what is kept for a restart."""
        for workload_id in list(self.loops.ids):
            self.loops.end(workload_id)
        self._runner.close()
