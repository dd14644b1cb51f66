"""The scheduler actor: answers the caller, and tells the control loops what happens.

It decides nothing itself and is never on the data path: while it is away, requests go on with the
last plan.
"""

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Sequence
from dataclasses import replace

from edgesplit.cluster.actors.carry_out import ActionRunner
from edgesplit.cluster.actors.loops import ControlLoops
from edgesplit.cluster.actors.recording import Recorded
from edgesplit.cluster.actors.workload import (
    Activation,
    TierHandle,
    Workload,
    WorkloadStatus,
    recorded,
    status_of,
)
from edgesplit.core.control.event import (
    Activate,
    GoalChanged,
    LayerTimesMeasured,
    Observed,
    RowDropped,
    Tick,
    TierJoined,
    TierLost,
    Transferring,
)
from edgesplit.core.control.standing import Standing, standing
from edgesplit.core.control.state import current_profile
from edgesplit.core.goal import Goal
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming

TICK_S = 0.1
_TICKS_PER_LOAD = 10  # hosts are asked how loaded they are once a second
_UNKNOWN_S = 0.5  # before a workload that is not known yet is asked for again


class Scheduler:
    """One per session. An async actor: every method may run while others wait."""

    def __init__(self, session_id: str) -> None:
        self._incarnation = uuid.uuid4().hex
        self._loops = ControlLoops(session_id)
        self._runner = ActionRunner(self._loops)
        self._is_ticking = False

    async def set_tiers(self, tiers: dict[str, TierHandle]) -> None:
        """Take the tiers, once they listen."""
        self._runner.tiers = tiers

    async def incarnation(self) -> str:
        """Another one for each start of this actor."""
        return self._incarnation

    async def begin(self, workload: Workload, version: int = 0) -> None:
        """Take up a workload and prepare its first plan. Raises what the policy raises.

        version: of the plan that the caller has already.
        """
        await self._runner.carry_out(*self._loops.begin(workload, version))
        self._start_ticking()

    async def resume(self, workload: Workload, version: int) -> None:
        """Go on with a workload after a restart: as the checkpoint has it, else from the start.

        version: of the plan that the caller has; later ones count on from there.
        """
        await self._runner.carry_out(*self._loops.resume(workload, version))
        self._start_ticking()

    async def mark_lost(self, tier: str) -> None:
        """A tier's actor does not answer: no plan uses it."""
        for workload_id in self._loops.ids:
            await self._runner.feed(workload_id, TierLost(self._loops.now_s(), tier))

    async def mark_back(self, tier: str, handle: TierHandle) -> None:
        """A tier's actor answers again, maybe at another address."""
        has_moved = self._runner.tiers[tier].address != handle.address
        self._runner.tiers[tier] = handle
        for workload_id in self._loops.ids:
            await self._runner.feed(workload_id, TierJoined(self._loops.now_s(), tier))
            loop = self._loops.get(workload_id)
            if has_moved and loop is not None and loop.state.active is not None:
                again = Activate(loop.state.active, f"{tier} is at another address")
                await self._runner.carry_out(loop, [again])

    async def set_goal(self, goal: Goal) -> None:
        """Choose every workload's plans for that goal from now on."""
        for workload_id in self._loops.ids:
            loop = self._loops.get(workload_id)
            if loop is not None:
                loop.workload = replace(loop.workload, goal=goal)
                await self._runner.feed(workload_id, GoalChanged(self._loops.now_s(), goal))

    async def end(self, workload_id: str) -> None:
        """Forget a workload."""
        self._loops.end(workload_id)

    async def observe(self, workload_id: str, requests: Sequence[tuple[TierTiming, ...]]) -> None:
        """Learn from finished requests, oldest first."""
        for timings in requests:
            await self._runner.feed(workload_id, Observed(self._loops.now_s(), timings))

    async def transferring(
        self,
        workload_id: str,
        link: tuple[str, str],
        sent_bytes: int,
        seconds: float,
        is_over: bool,
    ) -> None:
        """Learn from a payload that has not arrived yet. See the event."""
        event = Transferring(self._loops.now_s(), *link, sent_bytes, seconds, is_over)
        await self._runner.feed(workload_id, event)

    async def add_layer_times(self, workload_id: str, tier: str, times: LayerTimes) -> None:
        """A tier can from now on run this workload in that runtime."""
        event = LayerTimesMeasured(self._loops.now_s(), tier, times)
        await self._runner.feed(workload_id, event)

    async def drop_layer_times(self, workload_id: str, tier: str, runtime: str, why: str) -> None:
        """A tier cannot run this workload in that runtime, or no longer: it failed its check."""
        await self._runner.feed(workload_id, RowDropped(self._loops.now_s(), tier, runtime, why))

    async def activation(
        self, workload_id: str, version: int, timeout_s: float
    ) -> Activation | None:
        """The active plan once it is newer than `version`; None if that takes too long."""
        loop = self._loops.get(workload_id)
        if loop is None:  # this is not the first start, and nobody has told of the workload yet
            await asyncio.sleep(min(timeout_s, _UNKNOWN_S))
            return None

        def newer() -> bool:
            return loop.activation is not None and loop.activation.version > version

        async with loop.changed:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(loop.changed.wait_for(newer), timeout_s)
        return loop.activation if newer() else None

    async def profile(self, workload_id: str) -> Profile:
        """The profile as it is believed now."""
        return current_profile(self._loops.known(workload_id).state)

    async def standing(self, workload_id: str) -> Standing:
        """What would be chosen now, and why it is not in force where it is not."""
        return standing(self._loops.known(workload_id).state)

    async def away(self, workload_id: str) -> tuple[str, ...]:
        """Tiers that no plan of the workload may use now."""
        return tuple(sorted(self._loops.known(workload_id).state.away))

    async def status(self) -> tuple[dict[str, str], tuple[WorkloadStatus, ...]]:
        """The data plane's address of each tier, and every workload."""
        now_s = self._loops.now_s()
        workloads = (status_of(self._loops.known(name), now_s) for name in self._loops.ids)
        return dict(self._runner.addresses), tuple(workloads)

    async def recorded(self, workload_id: str) -> Recorded:
        """The last events of a workload and what was done about them."""
        return recorded(self._loops.known(workload_id))

    def _start_ticking(self) -> None:
        if not self._is_ticking:
            self._is_ticking = True
            self._runner.spawn(self._tick())

    async def _tick(self) -> None:
        for count in itertools.count():
            await asyncio.sleep(TICK_S)
            if count % _TICKS_PER_LOAD == 0:
                self._runner.ask_loads()
            for workload_id in self._loops.ids:
                await self._runner.feed(workload_id, Tick(self._loops.now_s()))
                self._loops.save_where_due(workload_id)
