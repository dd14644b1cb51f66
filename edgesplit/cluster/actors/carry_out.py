"""Carries out what the control loops ask for: plans prepared and handed out, probes, measurements.

What the tiers answer goes back to the loops as events.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import ray.exceptions

from edgesplit.cluster.actors.loops import ControlLoops
from edgesplit.cluster.actors.workload import Activation, Loop, TierHandle
from edgesplit.core.control.event import (
    Action,
    Activate,
    Event,
    LinkProbed,
    MeasureTier,
    Prepare,
    PrepareFailed,
    ProbeLink,
    Ready,
    RowDropped,
    TierLost,
    TierMeasured,
)
from edgesplit.core.plan import Plan, Stage
from edgesplit.errors import HeadroomError, RuntimeUnavailableError

_PREPARE_TIMEOUT_S = 30.0
_FAILED = object()
_log = logging.getLogger(__name__)


class ActionRunner:
    """Between the control loops and the tiers' actors. tiers: how to reach each."""

    def __init__(self, loops: ControlLoops) -> None:
        self._loops = loops
        self.tiers: dict[str, TierHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> Mapping[str, str]:
        """The data plane's address of each tier."""
        return {tier: handle.address for tier, handle in self.tiers.items()}

    async def feed(self, workload_id: str, event: Event) -> None:
        """Let a workload's loop take an event, and begin what it asks for."""
        actions = self._loops.take(workload_id, event)
        loop = self._loops.get(workload_id)
        if actions and loop is not None:
            await self.carry_out(loop, actions)

    async def carry_out(self, loop: Loop, actions: Sequence[Action]) -> None:
        """Begin what a loop asks for; only a plan's activation is waited for."""
        for action in actions:
            match action:
                case Activate():
                    await self._activate(loop, action)
                case Prepare(plan):
                    for stage in plan.stages:
                        self.spawn(self._prepare(loop, plan, stage))
                case ProbeLink():
                    self.spawn(self._probe(loop, action))
                case MeasureTier():
                    self.spawn(self._measure(loop, action))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let it run beside everything else."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Wait for nothing any more."""
        for task in list(self._tasks):
            task.cancel()

    async def _activate(self, loop: Loop, action: Activate) -> None:
        loop.version += 1
        async with loop.changed:
            loop.activation = Activation(
                loop.version,
                action.plan,
                action.reason,
                self._loops.now_s(),
                self.addresses,
                loop.state.basis.profile,
            )
            loop.changed.notify_all()
        self._loops.save(loop)

    async def _prepare(self, loop: Loop, plan: Plan, stage: Stage) -> None:
        workload_id, tier = loop.workload.id, stage.tier
        call = self.tiers[tier].actor.prepare.remote(
            workload_id, stage.start, stage.stop, stage.runtime
        )
        answer = await self._answer(loop, tier, call, _PREPARE_TIMEOUT_S)
        now_s = self._loops.now_s()
        event: Event = Ready(now_s, plan, tier)
        if isinstance(answer, RuntimeUnavailableError):
            event = RowDropped(now_s, tier, stage.runtime, str(answer))
        elif answer is _FAILED:
            event = PrepareFailed(now_s, plan, tier)
        await self.feed(workload_id, event)

    async def _probe(self, loop: Loop, ask: ProbeLink) -> None:
        target = (ask.target, self.tiers[ask.target].address)
        timeout_s = loop.workload.settings.probe_timeout_s
        call = self.tiers[ask.source].actor.probe.remote(target, ask.sent_bytes, timeout_s)
        answer = await self._answer(loop, ask.source, call, 4 * timeout_s)
        if answer is not _FAILED:
            pair, now_s = (ask.source, ask.target), self._loops.now_s()
            await self.feed(loop.workload.id, LinkProbed(now_s, *pair, ask.sent_bytes, *answer))

    async def _measure(self, loop: Loop, ask: MeasureTier) -> None:
        workload_id, segment = loop.workload.id, (ask.start, ask.stop)
        call = self.tiers[ask.tier].actor.measure.remote(workload_id, *segment, ask.runtime)
        seconds = await self._answer(loop, ask.tier, call, _PREPARE_TIMEOUT_S)
        now_s = self._loops.now_s()
        if isinstance(seconds, RuntimeUnavailableError):
            await self.feed(workload_id, RowDropped(now_s, ask.tier, ask.runtime, str(seconds)))
        elif seconds is not _FAILED:
            event = TierMeasured(now_s, ask.tier, *segment, seconds, ask.runtime)
            await self.feed(workload_id, event)

    async def _answer(self, loop: Loop, tier: str, call: Any, timeout_s: float) -> Any:
        """What the actor answers, or _FAILED; a dead actor is also an event.

        RuntimeUnavailableError is handed back: the tier cannot run the layers so, or not well.
        """
        try:
            return await asyncio.wait_for(_result(call), timeout_s)
        except ray.exceptions.RayActorError:
            await self.feed(loop.workload.id, TierLost(self._loops.now_s(), tier))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, HeadroomError):  # for now: the plan is tried again later
                _log.warning("tier %r keeps what it runs: %s", tier, error.cause)
            elif isinstance(error.cause, RuntimeUnavailableError):
                return error.cause
        except TimeoutError:
            pass  # no answer: control gives up on it by its own time limit
        return _FAILED


async def _result(call: Any) -> Any:
    return await call
