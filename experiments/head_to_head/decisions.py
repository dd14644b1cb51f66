"""How long one decision takes: measured, by processor seconds, apart from what is deterministic."""

import time
from collections.abc import Sequence

import numpy as np

from edgesplit.config import Config
from edgesplit.core.policies.policy import Policy
from edgesplit.core.policies.published import PUBLISHED
from edgesplit.errors import PlanError
from experiments.head_to_head.condition import Condition, scene_of
from experiments.head_to_head.control_loop import ControlLoop
from experiments.head_to_head.replayed import GOALS, TOLD
from experiments.head_to_head.rows import OURS, Row
from experiments.head_to_head.simulation import Simulation
from experiments.head_to_head.table import Table
from experiments.head_to_head.world import drawn_noise
from experiments.shared.trace_class import LINK_CLASSES

REQUESTS = 20


def decision_rows(table: Table, policies: Sequence[str], seed: int) -> list[Row]:
    """Per policy the median and the longest over requests on a moving link, in milliseconds.

    Of ours: all that its control loop does between two requests.
    """
    condition = Condition("decisions", next(iter(LINK_CLASSES)))
    scene = scene_of(table, condition, REQUESTS, seed)
    goal = GOALS["default"]
    profiles = [scene.world.told(at_s) for at_s in scene.at_s.tolist()]
    found = []
    for name in policies:
        policy: Policy = TOLD[name] if name in TOLD else PUBLISHED[name].policy
        seconds = []
        for profile in profiles:
            began_s = time.process_time()
            try:
                policy(table.graph, profile, goal)
            except PlanError:
                continue
            seconds.append(time.process_time() - began_s)
        found.append(_row(table, name, seconds))
    noise = drawn_noise(scene.world, REQUESTS, scene.generator("noise"))
    loop = ControlLoop(Config().hedge, time.process_time)
    Simulation(scene.world, goal, noise, loop).run(scene.at_s)
    return [_row(table, OURS, loop.took_s[1:]), *found]


def _row(table: Table, policy: str, seconds: Sequence[float]) -> Row:
    known = len(seconds) > 0
    return {
        "model": table.name,
        "layers": len(table.graph),
        "policy": policy,
        "median_ms": 1e3 * float(np.median(seconds)) if known else None,
        "longest_ms": 1e3 * max(seconds) if known else None,
    }
