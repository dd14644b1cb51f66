"""A workload of the caller's: the plan in force."""

import time

from worlds import GOAL, VGG, chain

from edgesplit.caller.active_workload import ActiveWorkload
from edgesplit.cluster.actors.workload import Activation
from edgesplit.core.plan import parse_plan


def test_a_switch_is_dated_by_the_callers_clock():
    """The scheduler's machine may have been up for weeks longer."""
    addresses = {"end": "127.0.0.1:1"}
    known = None, VGG, None, chain(VGG), GOAL
    workload = ActiveWorkload("w", *known, dict(addresses), fails_over=False)
    before_s = time.perf_counter()
    workload.activate(Activation(1, parse_plan("end:0-16"), "the first", 1e9, addresses))
    assert before_s <= workload.activations[-1].at_s <= time.perf_counter()
    assert str(workload.route.plan) == "end:0-16"
