"""How long one evaluation of the control loop takes beside one planner decision.

Both on the same graph and beliefs, by turns, in seconds of this thread's CPU time: other processes
do not count.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgesplit.core.control.event import Tick
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import ControlState, Settings, current_profile
from edgesplit.core.control.step import begin, step
from edgesplit.core.policies.policy import decide, score
from experiments.planner.instances import Instance

_RUN_S = 0.4  # of simulated requests, so that beliefs are not the calibrated figures


@dataclass(frozen=True)
class TickTimes:
    """The least of several times, in seconds: a busy machine only adds to them.

    A planner decision; a tick that evaluates; the ticks after it that look for what to probe.
    """

    decision_s: float
    tick_s: float
    looks_s: float

    @property
    def ratio(self) -> float:
        """The tick that evaluates / a decision."""
        return self.tick_s / self.decision_s

    @property
    def looks_ratio(self) -> float:
        """The ticks after it / a decision."""
        return self.looks_s / self.decision_s


def tick_times(instance: Instance, repeats: int) -> TickTimes:
    """Measured on a state that simulated requests have led to."""
    state = _after_requests(instance)
    assert state.active is not None, "a plan is in force"
    tick = Tick(max(state.now_s, state.decided_s + 1.1 * state.settings.interval_s))
    decided = step(state, tick)[0]
    assert decided.decided_s == tick.at_s, "this tick evaluates"
    known = state.graph, current_profile(state), state.goal
    rows = [
        (
            _cpu_s(lambda: decide(*known)),
            _cpu_s(lambda: step(state, tick)),
            _cpu_s(lambda: _look(decided)),
        )
        for _ in range(repeats)
    ]
    return TickTimes(*(min(column) for column in zip(*rows, strict=True)))


def _after_requests(instance: Instance) -> ControlState:
    started = begin(*instance, score, Settings(), 0.0)
    world = World(instance[1], prepare_s=0.01)
    return simulate(started, world, _RUN_S, np.random.default_rng(0)).state


def _look(state: ControlState) -> None:
    # Where a doubt is to be cleared first, every event evaluates anew: no answer comes here.
    while state.hopes and not state.is_due:
        state, _ = step(state, Tick(state.now_s))


def _cpu_s(function: Callable[[], object]) -> float:
    start_s = time.thread_time()
    function()
    return time.thread_time() - start_s
