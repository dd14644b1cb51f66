"""The scheduler actor: turns what happens into events for control.step and carries out its actions.

It decides nothing itself and is never on the data path: while it is away, requests go on with the
last plan.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

import ray.exceptions

from edgesplit.cluster.checkpoint import Checkpoint
from edgesplit.cluster.loop import Activation, Loop, TierHandle, Workload, WorkloadStatus, status_of
from edgesplit.core.control.event import (
    Action,
    Activate,
    Event,
    GoalChanged,
    LinkProbed,
    Measure,
    Observed,
    Prepare,
    PrepareFailed,
    Probe,
    Ready,
    RowDropped,
    RowMeasured,
    Tick,
    TierJoined,
    TierLost,
    TierMeasured,
)
from edgesplit.core.control.state import current_profile
from edgesplit.core.control.step import begin, step
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.core.row import Row
from edgesplit.core.sample import Sample
from edgesplit.errors import (
    ClusterError,
    EdgeSplitError,
    HeadroomError,
    RuntimeUnavailableError,
)

TICK_S = 0.1
_SAVE_S = 5.0  # beliefs that are older are soon learnt again
_PREPARE_TIMEOUT_S = 30.0
_UNKNOWN_S = 0.5  # before who asks for a workload that is not known yet asks again
_log = logging.getLogger(__name__)


class Scheduler:
    """One per session. An async actor: every method may run while others wait."""

    def __init__(self, session_id: str) -> None:
        self._incarnation = uuid.uuid4().hex
        self._checkpoint = Checkpoint(session_id)
        self._began_s = 0.0  # on the clock of the first start, when this one began to count
        self._tiers: dict[str, TierHandle] = {}
        self._loops: dict[str, Loop] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticking = False

    async def meet(self, tiers: dict[str, TierHandle]) -> None:
        """Take the tiers, once they listen."""
        self._tiers = tiers

    async def incarnation(self) -> str:
        """Another one for each start of this actor."""
        return self._incarnation

    async def begin(self, workload: Workload, version: int = 0) -> None:
        """Take up a workload and prepare its first plan. Raises what the policy raises.

        version: of the plan that the caller has already.
        """
        state, actions = begin(
            workload.graph,
            workload.profile,
            workload.goal,
            workload.policy,
            workload.settings,
            self._now_s(),
        )
        loop = Loop(workload, state)
        loop.version = version
        await self._take_up(loop, actions)

    async def resume(self, workload: Workload, version: int) -> None:
        """Go on with a workload after a restart: as the checkpoint has it, else from the start.

        version: of the plan that the caller has; later ones count on from there.
        """
        kept = self._checkpoint.load(workload.id)
        if kept is None:
            await self.begin(workload, version)
            return
        state, kept_version = kept
        self._began_s = max(self._began_s, state.now_s - time.perf_counter())
        # The goal may have changed since it was saved.
        loop = Loop(workload, replace(state, pending=None, goal=workload.goal))
        loop.version = max(version, kept_version)
        again = [Activate(state.active, "the scheduler was restarted")] if state.active else []
        await self._take_up(loop, again)

    async def _take_up(self, loop: Loop, actions: Sequence[Action]) -> None:
        self._loops[loop.workload.id] = loop
        await self._carry_out(loop, actions)
        if not self._ticking:
            self._ticking = True
            self._spawn(self._tick())

    async def lose(self, tier: str) -> None:
        """A tier's actor does not answer: no plan uses it."""
        for workload_id in list(self._loops):
            await self._feed(workload_id, TierLost(self._now_s(), tier))

    async def rejoin(self, tier: str, handle: TierHandle) -> None:
        """A tier's actor answers again, maybe at another address."""
        has_moved = self._tiers[tier].address != handle.address
        self._tiers[tier] = handle
        for workload_id, loop in list(self._loops.items()):
            await self._feed(workload_id, TierJoined(self._now_s(), tier))
            if has_moved and loop.state.active is not None:
                again = Activate(loop.state.active, f"{tier} is at another address")
                await self._carry_out(loop, [again])

    async def pursue(self, goal: Goal) -> None:
        """Choose every workload's plans for that goal from now on."""
        for workload_id, loop in list(self._loops.items()):
            loop.workload = replace(loop.workload, goal=goal)
            await self._feed(workload_id, GoalChanged(self._now_s(), goal))

    async def end(self, workload_id: str) -> None:
        """Forget a workload."""
        self._loops.pop(workload_id, None)

    async def observe(self, workload_id: str, requests: Sequence[tuple[Sample, ...]]) -> None:
        """Learn from finished requests, oldest first."""
        for samples in requests:
            await self._feed(workload_id, Observed(self._now_s(), samples))

    async def add_row(self, workload_id: str, tier: str, row: Row) -> None:
        """A tier can from now on run this workload in the row's runtime."""
        await self._feed(workload_id, RowMeasured(self._now_s(), tier, row))

    async def drop_row(self, workload_id: str, tier: str, runtime: str, why: str) -> None:
        """A tier cannot run this workload in that runtime, or no longer: it failed its check."""
        await self._feed(workload_id, RowDropped(self._now_s(), tier, runtime, why))

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
        return current_profile(self._loop(workload_id).state)

    async def away(self, workload_id: str) -> tuple[str, ...]:
        """Tiers that no plan of the workload may use now."""
        return tuple(sorted(self._loop(workload_id).state.away))

    async def status(self) -> tuple[dict[str, str], tuple[WorkloadStatus, ...]]:
        """The data plane's address of each tier, and every workload."""
        return self._addresses, tuple(
            status_of(loop, self._now_s()) for loop in self._loops.values()
        )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for workload_id in list(self._loops):
                await self._feed(workload_id, Tick(self._now_s()))
                loop = self._loops.get(workload_id)
                if loop is not None and self._now_s() - loop.saved_s > _SAVE_S:
                    self._save(loop)

    @property
    def _addresses(self) -> dict[str, str]:
        return {tier: handle.address for tier, handle in self._tiers.items()}

    def _loop(self, workload_id: str) -> Loop:
        if workload_id not in self._loops:
            raise ClusterError(
                "the scheduler was started again and does not know the workload yet; ask once more "
                "in some seconds"
            )
        return self._loops[workload_id]

    def _save(self, loop: Loop) -> None:
        loop.saved_s = self._now_s()
        self._checkpoint.save(loop.workload.id, (loop.state, loop.version))

    def _now_s(self) -> float:
        """This machine's monotonic clock; after a restart it goes on, whatever machine it is."""
        return self._began_s + time.perf_counter()

    async def _feed(self, workload_id: str, event: Event) -> None:
        loop = self._loops.get(workload_id)
        if loop is None:
            return  # ended meanwhile
        try:
            loop.state, actions = step(loop.state, event)
        except EdgeSplitError:
            return  # an illegal event changes nothing; what it measured is lost, not wrong
        await self._carry_out(loop, actions)

    async def _carry_out(self, loop: Loop, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Activate(plan, reason):
                    loop.version += 1
                    async with loop.changed:
                        loop.activation = Activation(
                            loop.version, plan, reason, self._now_s(), self._addresses
                        )
                        loop.changed.notify_all()
                    self._save(loop)
                case Prepare(plan):
                    for stage in plan.stages:
                        self._spawn(self._prepare(loop, plan, stage.tier))
                case Probe():
                    self._spawn(self._probe(loop, action))
                case Measure():
                    self._spawn(self._measure(loop, action))

    async def _prepare(self, loop: Loop, plan: Plan, tier: str) -> None:
        stage = next(stage for stage in plan.stages if stage.tier == tier)
        call = self._tiers[tier].actor.prepare.remote(
            loop.workload.id, stage.start, stage.stop, stage.runtime
        )
        answer = await self._answer(loop, tier, call, _PREPARE_TIMEOUT_S)
        if isinstance(answer, RuntimeUnavailableError):
            await self.drop_row(loop.workload.id, tier, stage.runtime, str(answer))
            return
        now_s = self._now_s()
        event = PrepareFailed(now_s, plan, tier) if answer is _FAILED else Ready(now_s, plan, tier)
        await self._feed(loop.workload.id, event)

    async def _probe(self, loop: Loop, ask: Probe) -> None:
        target = (ask.target, self._tiers[ask.target].address)
        timeout_s = loop.workload.settings.probe_timeout_s
        call = self._tiers[ask.source].actor.probe.remote(target, ask.sent_bytes, timeout_s)
        answer = await self._answer(loop, ask.source, call, 4 * timeout_s)
        if answer is not _FAILED:
            seconds, latency_s = answer
            await self._feed(
                loop.workload.id,
                LinkProbed(
                    self._now_s(), ask.source, ask.target, ask.sent_bytes, seconds, latency_s
                ),
            )

    async def _measure(self, loop: Loop, ask: Measure) -> None:
        call = self._tiers[ask.tier].actor.measure.remote(
            loop.workload.id, ask.start, ask.stop, ask.runtime
        )
        seconds = await self._answer(loop, ask.tier, call, _PREPARE_TIMEOUT_S)
        if isinstance(seconds, RuntimeUnavailableError):
            await self.drop_row(loop.workload.id, ask.tier, ask.runtime, str(seconds))
        elif seconds is not _FAILED:
            await self._feed(
                loop.workload.id,
                TierMeasured(self._now_s(), ask.tier, ask.start, ask.stop, seconds, ask.runtime),
            )

    async def _answer(self, loop: Loop, tier: str, call: Any, timeout_s: float) -> Any:
        """What the actor answers, or _FAILED; a dead actor is also an event.

        RuntimeUnavailableError is handed back: the tier cannot run the layers so, or not well.
        """
        try:
            return await asyncio.wait_for(_result(call), timeout_s)
        except ray.exceptions.RayActorError:
            await self._feed(loop.workload.id, TierLost(self._now_s(), tier))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, HeadroomError):  # for now: the plan is tried again later
                _log.warning("tier %r keeps what it runs: %s", tier, error.cause)
            elif isinstance(error.cause, RuntimeUnavailableError):
                return error.cause
        except TimeoutError:
            pass  # no answer: control gives up on it by its own time limit
        return _FAILED

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_FAILED = object()


async def _result(call: Any) -> Any:
    return await call
