"""The plan in force as the caller sends along it: never lossier than what is granted by now."""

from dataclasses import replace

import pytest
from worlds import GOAL, VGG, chain

from edgesplit.caller.active_workload import ActiveWorkload
from edgesplit.cluster.actors.workload import Activation
from edgesplit.cluster.measure.runtimes import Offered
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.payload_codec import CodecSizes, CodecSpeed
from edgesplit.core.plan import parse_plan

TIERS, N = ("end", "edge", "cloud"), len(VGG)
GRANTED = replace(GOAL, max_accuracy_loss=0.005)
CODED = "end:0-0 |int8+zstd| edge:0-3 |zstd| cloud:3-16"
EXACT = "end:0-0 | edge:0-3 |zstd| cloud:3-16"


def sizes(codec, loss):
    return CodecSizes(codec, tuple(0.5 * n for n in VGG.payload_bytes), (loss,) * (N + 1))


KNOWN = (sizes("int8+zstd", 0.004), sizes("zstd", 0.0))


def active(plan, goal=GRANTED, codecs=KNOWN):
    addresses = dict.fromkeys(TIERS, "127.0.0.1:1")
    workload = ActiveWorkload("w", None, VGG, None, chain(VGG), goal, addresses, fails_over=True)
    speeds = tuple(CodecSpeed(c.codec, 1e-4, 1e-10, 1e-4, 1e-10) for c in KNOWN)
    workload.set_codecs(codecs, tuple((tier, speeds) for tier in TIERS))
    workload.activate(Activation(1, parse_plan(plan), "", 0.0, addresses))
    return workload


def test_what_is_granted_is_used():
    assert active(CODED).route.text == CODED


@pytest.mark.parametrize("most", [None, 0.001])
def test_another_goal_is_kept_at_once_not_once_another_plan_is_ready(most):
    workload = active(CODED)
    workload.set_goal(replace(GOAL, max_accuracy_loss=most))
    assert workload.route.text == EXACT
    assert [hop.codec for hop in workload.route.hops] == ["as-is", "zstd", "as-is"]
    workload.set_goal(GRANTED)
    assert workload.route.text == CODED


def test_a_plan_that_was_chosen_for_an_older_goal_comes_too_late():
    workload = active(EXACT, goal=GOAL)
    plan = parse_plan(CODED)
    workload.activate(Activation(2, plan, "", 0.0, workload.addresses))
    assert workload.route.text == EXACT


def test_a_codec_that_is_given_up_is_left_at_once():
    workload = active(CODED)
    workload.set_codecs(KNOWN[1:], ())
    assert workload.route.text == EXACT


def test_a_plan_may_come_before_what_it_is_made_of_is_known():
    workload = active(CODED, codecs=KNOWN[1:])
    assert workload.route.text == EXACT
    workload.set_codecs(KNOWN, ())
    assert workload.route.text == CODED


def test_a_lossy_runtime_is_left_as_well():
    workload = active(f"end:0-{N}")
    workload.offer(Offered("end", "onnx-int8", LayerTimes("onnx-int8", (1e-4,) * N, loss=0.004)))
    lossy = Activation(2, parse_plan(f"end[onnx-int8]:0-{N}"), "", 0.0, workload.addresses)
    workload.activate(lossy)
    assert workload.route.hops[0].runtime == "onnx-int8"
    workload.set_goal(GOAL)
    assert workload.route.hops[0].runtime == "torch"


def test_what_is_late_is_judged_by_what_was_believed_when_the_plan_came_into_force():
    workload = active(f"end:0-1 | edge:1-{N}")
    before = workload.route
    slow = tuple(replace(tier, slowdown=4.0) for tier in workload.profile.tiers)
    believed = replace(workload.profile, tiers=slow)
    plan = parse_plan(f"end:0-1 | edge:1-{N}")
    workload.hedges = True
    workload.activate(Activation(2, plan, "", 0.0, workload.addresses, believed))
    assert workload.route.failover_after_s > before.failover_after_s
    first = workload.route.hops[0].hedge
    assert first.rest_s == pytest.approx(4 * sum(workload.profile.tiers[0].layer_s[1:]))
    assert workload.activations[-1].believed is None  # plans are kept for good, profiles are not
    # A tier that has joined since is not in it.
    joined = replace(workload.profile.tiers[0], name="other")
    workload.profile = workload.profile.with_added(joined, [])
    workload.set_goal(replace(workload.goal, memory_bytes={"other": 10**9}))
    assert workload.route.hops[0].hedge.rest_s < first.rest_s
    # One that the user names is run as it is, and judged by what was measured first.
    other = workload.along(parse_plan(f"end:0-2 | edge:2-{N}"))
    assert other.hops[0].hedge is None
