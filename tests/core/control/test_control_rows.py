"""The control loop as runtimes come and go: rows that arrive, rows that are dropped."""

import numpy as np
import pytest
from control_cases import make_ready, of_kind, request, started
from worlds import GOAL, MOBILE, VGG, chain, row_of, slowed, with_layer_times

from edgesplit.core.control.ask import asks_along, confirm
from edgesplit.core.control.event import (
    Activate,
    LayerTimesMeasured,
    MeasureTier,
    Prepare,
    PrepareFailed,
    RowDropped,
    TierMeasured,
)
from edgesplit.core.control.replay import replay
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import Settings, current_profile
from edgesplit.core.control.step import begin, step
from edgesplit.core.cost import CostModel
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.plan import parse_plan, plan_along
from edgesplit.core.policies.policy import FixedPlan, score
from edgesplit.core.tier_runtimes import TierRuntimes
from edgesplit.errors import EventError, UnknownNameError

CHAIN = chain(MOBILE)
SPLIT = score(MOBILE, CHAIN, GOAL)
QUICK = row_of(CHAIN, "end", 0.1)  # all on the end is the best plan then
END_ONNX = parse_plan("end[onnx]:0-16")


def with_onnx(settings=None):
    """The end has its quick row since 1 s, and the plan that uses it is active since 1.2 s."""
    state, actions = step(
        started(graph=MOBILE, settings=settings), LayerTimesMeasured(1.0, "end", QUICK)
    )
    assert of_kind(actions, Prepare) == [Prepare(END_ONNX)]
    return make_ready(state, END_ONNX, 1.2)


def test_a_row_that_arrives_makes_the_plan_switch():
    state, actions = with_onnx()
    assert state.active == END_ONNX
    reason = of_kind(actions, Activate)[0].reason
    assert reason.startswith("end has onnx now: score 0.")
    assert state.profile.runtimes["end"] == "torch"
    assert current_profile(state).tier("end").times_in("onnx") == QUICK


def test_a_row_that_does_not_help_changes_nothing():
    state = started(graph=MOBILE)
    for tier, factor in (("end", 0.99), ("end", 2.0), ("cloud", 0.98)):
        row = row_of(CHAIN, tier, factor)
        state, actions = step(state, LayerTimesMeasured(1.0, tier, row))
        assert actions == ()
        assert state.profile.tier(tier).times_in("onnx") == row
    assert state.active == SPLIT


def test_a_row_is_replaced_by_a_newer_one():
    state, _ = with_onnx()
    state, actions = step(state, LayerTimesMeasured(2.0, "end", row_of(CHAIN, "end", 3.0)))
    assert of_kind(actions, Prepare) == [Prepare(SPLIT)]
    assert state.profile.tier("end").runtimes == ("torch", "onnx")


def test_a_dropped_row_is_left_at_once_whatever_the_margins():
    state, _ = with_onnx(Settings(min_gain=0.5, expected_stay_s=1.0, switch_cost_s=0.2))
    state, actions = step(state, RowDropped(2.0, "end", "onnx"))
    assert of_kind(actions, Prepare) == [Prepare(SPLIT)]
    assert state.profile.tier("end").layer_times == ()
    _, actions = make_ready(state, SPLIT, 2.2)
    assert of_kind(actions, Activate)[0].reason.startswith("end lost onnx: score 0.")


def test_a_row_dropped_while_its_plan_is_prepared_gives_the_preparation_up():
    state, _ = step(started(graph=MOBILE), LayerTimesMeasured(1.0, "end", QUICK))
    assert state.pending.plan == END_ONNX
    state, actions = step(state, RowDropped(1.1, "end", "onnx"))
    assert (state.pending, state.active, actions) == (None, SPLIT, ())
    late, actions = make_ready(state, END_ONNX, 1.2)
    assert (late.active, actions) == (SPLIT, ())
    late, actions = step(late, PrepareFailed(1.3, END_ONNX, "end"))
    assert (late.refused, actions) == (None, ())


def test_a_row_in_the_first_plan_that_is_dropped_is_replaced_before_any_request():
    profile = with_layer_times(CHAIN, "end", QUICK)
    state, actions = begin(MOBILE, profile, GOAL, score, Settings(), 0.0)
    assert actions == (Prepare(END_ONNX),)
    state, actions = step(state, RowDropped(0.1, "end", "onnx"))
    assert of_kind(actions, Prepare) == [Prepare(SPLIT)]
    assert make_ready(state, SPLIT, 0.2)[0].active == SPLIT


def test_what_cannot_be_used_is_kept_with_its_reason_until_a_row_comes():
    state, actions = step(started(graph=MOBILE), RowDropped(1.0, "end", "onnx", "not installed"))
    assert actions == ()
    assert state.profile.tier("end").unused == (("onnx", "not installed"),)
    text = "\n".join(TierRuntimes(state.profile.tiers).lines())
    assert text == "end does not use onnx: not installed"
    assert TierRuntimes(state.profile.tiers).as_dict()["end"]["onnx"] == {"unused": "not installed"}
    state, _ = step(state, LayerTimesMeasured(2.0, "end", QUICK))
    assert state.profile.tier("end").unused == ()
    state, _ = step(state, RowDropped(3.0, "end", "onnx", "too far off"))
    assert state.profile.tier("end").unused == (("onnx", "too far off"),)


def test_a_plan_whose_row_is_gone_is_shown_in_the_row_in_use():
    plan = parse_plan("end[onnx]:0-4 | edge:4-16")
    offered = {"end": ("torch",), "edge": ("torch", "onnx")}
    assert plan.as_offered(offered) == parse_plan("end:0-4 | edge:4-16")
    assert plan.as_offered(offered | {"end": ("torch", "onnx")}) == plan


def test_dropping_twice_is_harmless():
    state, _ = step(with_onnx()[0], RowDropped(2.0, "end", "onnx"))
    again, actions = step(state, RowDropped(2.0, "end", "onnx"))
    assert (again, actions) == (state, ())


def test_the_row_in_use_can_go_and_the_tier_is_lost_with_its_last():
    edge = with_layer_times(CHAIN, "edge", row_of(CHAIN, "edge", 0.5))
    state = started(graph=MOBILE, profile=edge)
    state, _ = step(state, RowDropped(1.0, "edge", "torch"))
    assert state.profile.tier("edge").runtimes == ("onnx",)
    assert not state.lost
    state, _ = step(state, RowDropped(1.1, "edge", "onnx"))
    assert state.lost == {"edge"}
    assert state.pending.plan == parse_plan("end:0-16")


def test_norms_stay_as_calibrated():
    state, _ = with_onnx()
    assert state.profile.score_reference == CostModel(MOBILE, CHAIN, GOAL).score_reference
    state, _ = step(state, RowDropped(2.0, "end", "torch"))
    assert state.profile.score_reference == CostModel(MOBILE, CHAIN, GOAL).score_reference


def test_a_request_is_compared_with_the_row_that_ran_it():
    state, _ = with_onnx()
    true = with_layer_times(CHAIN, "end", QUICK)
    state, _ = feed_mobile(state, true, (2, 3, 4, 5))
    assert current_profile(state).tier("end").slowdown == pytest.approx(1.0)
    state, _ = feed_mobile(state, slowed(true, "end", 2.0), (6, 7, 8, 9))
    assert current_profile(state).tier("end").slowdown == pytest.approx(2.0)


def feed_mobile(state, profile, times):
    actions = []
    for at_s in times:
        state, more = step(state, request(state.active, profile, at_s, MOBILE))
        actions += more
    return state, actions


def test_a_request_under_a_dropped_row_teaches_nothing_of_the_tier():
    state, _ = step(with_onnx()[0], RowDropped(2.0, "end", "onnx"))
    late = request(END_ONNX, slowed(with_layer_times(CHAIN, "end", QUICK), "end", 5.0), 2.1, MOBILE)
    after, _ = step(state, late)
    assert after.beliefs == state.beliefs
    measured, _ = step(state, TierMeasured(2.1, "end", 0, 16, 0.5, "onnx"))
    assert measured.beliefs == state.beliefs
    assert measured.asked_s == state.asked_s + 0.5


def test_a_row_that_arrives_on_a_slowed_tier_is_slowed_as_torch_is():
    state, _ = feed_mobile(started(graph=MOBILE), slowed(CHAIN, SPLIT.route[-1], 2.0), range(1, 6))
    tier = SPLIT.route[-1]
    assert current_profile(state).tier(tier).slowdown == pytest.approx(2.0, rel=0.01)
    state, _ = step(state, LayerTimesMeasured(6.0, tier, row_of(CHAIN, tier, 1.0)))
    now = current_profile(state).tier(tier)
    torch_s = CHAIN.tier(tier).times_in("torch").total_s
    assert now.times_in("onnx").total_s * now.slowdown == pytest.approx(2 * torch_s, rel=0.01)


def test_asks_name_the_runtime_that_would_be_used():
    state, _ = with_onnx()
    plan = parse_plan("end[onnx]:0-4 | edge:4-4 | cloud:4-16")
    asks = [ask for ask in asks_along(state, plan) if isinstance(ask, MeasureTier)]
    assert asks == [MeasureTier("end", 0, 4, "onnx"), MeasureTier("cloud", 4, 16)]


def test_an_ask_is_as_long_as_its_runtime_allows():
    """A layer takes 3.75 ms in torch and ten times that in onnx; 100 ms is the longest."""
    state = started(graph=MOBILE)
    state, _ = step(state, LayerTimesMeasured(1.0, "end", row_of(CHAIN, "end", 10.0)))
    for runtime, layers, seconds in (("torch", 16, 0.06), ("onnx", 2, 0.075)):
        asked, actions = confirm(state, [MeasureTier("end", 0, 16, runtime)])
        assert actions == [MeasureTier("end", 0, layers, runtime)]
        assert asked.asking["end"].expected_s == pytest.approx(seconds)


def test_a_tier_out_of_use_is_measured_in_the_runtime_it_would_get():
    """The cloud is only worth it in onnx; believed slow, it is asked for in onnx, and briefly."""
    whole = with_layer_times(chain(VGG), "cloud", row_of(chain(VGG), "cloud", 0.2))
    world = World(whole, ((5.0, slowed(whole, "cloud", 60.0)), (20.0, whole)))
    result = simulate(
        begin(VGG, whole, GOAL, score, Settings(), 0.0), world, 40.0, np.random.default_rng(0)
    )
    routes = [s.plan.runtimes.get("cloud") for s in result.switches]
    assert routes == ["onnx", None, "onnx"]
    measured = (ask for _, ask in result.asks if isinstance(ask, MeasureTier))
    assert {ask.runtime for ask in measured if ask.tier == "cloud"} == {"onnx"}


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (LayerTimesMeasured(2.0, "mars", QUICK), UnknownNameError),
        (LayerTimesMeasured(2.0, "end", LayerTimes("onnx", (0.1,))), EventError),
        (RowDropped(2.0, "mars", "onnx"), UnknownNameError),
        (RowDropped(0.1, "end", "onnx"), EventError),
    ],
    ids=str,
)
def test_illegal_events(event, error):
    state, _ = with_onnx()
    with pytest.raises(error):
        step(state, event)


def test_a_policy_that_knows_nothing_of_runtimes_goes_on_in_torch():
    def halves(graph, profile, goal):
        return plan_along(profile.names[:2], [len(graph) // 2], len(graph))

    state = started(halves, graph=MOBILE)
    state, actions = step(state, LayerTimesMeasured(1.0, "end", QUICK))
    assert (str(state.active), actions) == ("end:0-8 | edge:8-16", ())


def test_a_fixed_plan_stays_as_rows_come_and_go():
    state = started(
        FixedPlan(END_ONNX), graph=MOBILE, profile=with_layer_times(CHAIN, "end", QUICK)
    )
    for event in (
        LayerTimesMeasured(1.0, "edge", row_of(CHAIN, "edge", 0.1)),
        RowDropped(2.0, "end", "onnx"),
    ):
        state, actions = step(state, event)
        assert (state.active, of_kind(actions, Prepare)) == (END_ONNX, [])


ALL_ROWS = (
    ("end", 0.35, "onnx"), ("end", 0.6, "compile"), ("edge", 0.5, "onnx"),
    ("edge", 0.52, "compile"), ("cloud", 0.7, "onnx"),
)  # fmt: skip


def rich(graph):
    """Every tier with rows, two of one tier nearly alike."""
    profile = chain(graph)
    for tier, factor, runtime in ALL_ROWS:
        profile = with_layer_times(profile, tier, row_of(chain(graph), tier, factor, runtime))
    return profile


@pytest.mark.parametrize("graph", [VGG, MOBILE], ids=lambda graph: graph.name)
def test_steady_noise_does_not_make_plans_flap_between_runtimes(graph):
    world, requests, switches = World(rich(graph)), 0, 0
    for seed in range(4):
        first = begin(graph, rich(graph), GOAL, score, Settings(), 0.0)
        result = simulate(first, world, 30.0, np.random.default_rng(seed))
        requests, switches = requests + len(result.requests), switches + len(result.switches) - 1
    assert requests > 1000
    assert switches <= requests / 1000


@pytest.mark.parametrize("graph", [VGG, MOBILE], ids=lambda graph: graph.name)
def test_rows_that_arrive_one_by_one_are_settled_soon_and_for_good(graph):
    """Each is measured with an error of up to 10 %; after the last one a plan stays."""
    for seed in range(6):
        generator = np.random.default_rng(seed)
        events = tuple(
            LayerTimesMeasured(
                2.0 + i, tier,
                row_of(chain(graph), tier, factor * generator.uniform(0.9, 1.1), runtime),
            )
            for i, (tier, factor, runtime) in enumerate(ALL_ROWS)
        )  # fmt: skip
        first = begin(graph, chain(graph), GOAL, score, Settings(), 0.0)
        result = simulate(first, World(rich(graph), events=events), 40.0, generator)
        assert len(result.switches) <= 1 + len(ALL_ROWS)
        assert all(switch.at_s < 20 for switch in result.switches)  # a gain at the margin waits
        now = current_profile(result.state)
        best = CostModel(graph, now, GOAL).cost(score(graph, now, GOAL)).score
        assert CostModel(graph, now, GOAL).cost(result.state.active).score <= best / 0.94


def test_runs_with_rows_replay_to_the_same_state():
    events = (LayerTimesMeasured(2.0, "end", QUICK), RowDropped(6.0, "end", "onnx"))
    true = with_layer_times(CHAIN, "end", QUICK)
    first = begin(MOBILE, CHAIN, GOAL, score, Settings(), 0.0)
    result = simulate(
        first, World(true, events=events, prepare_s=0.1), 10.0, np.random.default_rng(3)
    )
    assert [s.plan for s in result.switches] == [SPLIT, END_ONNX, SPLIT]
    assert result.switches[1].at_s < 2.5
    assert result.switches[2].at_s < 6.5
    assert replay(first[0], result.events)[-1][0] == result.state
