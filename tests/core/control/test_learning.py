"""Policies that learn, and policies that are followed: what the loop makes of them, and when."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from control_cases import feed, make_ready, of_kind, request, started
from learner_cases import TRIED, TriesOut
from worlds import GOAL, VGG, chain, row_of, slowed, throttled, with_layer_times

from edgesplit.core.control.event import (
    Activate,
    Observed,
    Prepare,
    PrepareFailed,
    Ready,
    Tick,
    TierLost,
)
from edgesplit.core.control.replay import replay
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.standing import standing
from edgesplit.core.control.state import Settings, current_profile
from edgesplit.core.control.step import begin, step
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.checked import bare, checked
from edgesplit.core.policies.learning import after, is_followed, learns
from edgesplit.core.policies.policy import FixedPlan, fastest, only, score
from edgesplit.errors import PlanError, UnknownNameError

V = chain(VGG)
END, SHARED, CLOUD = map(parse_plan, TRIED)


def simulated(policy, until_s=8.0, world=None, seed=0):
    first = begin(VGG, V, GOAL, policy, Settings(), 0.0)
    world = world or World(V, prepare_s=0.1)
    return first[0], simulate(first, world, until_s, np.random.default_rng(seed))


def test_each_request_is_learnt_from_with_what_was_believed_before_it():
    state = started(TriesOut())
    believed = []
    for number in range(5):
        believed.append(current_profile(state).tier("cloud").slowdown)
        event = request(CLOUD, slowed(V, "cloud", 4.0), 0.1 * (number + 1))
        state, _ = step(state, event)
    assert state.policy.slowdowns == tuple(believed)
    assert believed[0] == 1.0
    assert believed[-1] > 1.0
    assert dict(state.policy.took)[str(CLOUD)] == event.timings[0].own_s


@pytest.mark.parametrize("policy", [score, fastest, FixedPlan(END), only("edge")])
def test_a_policy_that_does_not_learn_stays_the_same_object(policy):
    assert not learns(policy)
    assert after(policy, VGG, V, ()) is policy
    state, _ = feed(started(policy), V, [0.1, 0.2])
    assert state.policy is policy


def test_a_request_that_it_cannot_learn_from_is_learnt_from_by_the_loop_alone():
    @dataclass(frozen=True)
    class Refuses(TriesOut):
        def after(self, graph, profile, timings):
            raise PlanError("not that one")

    policy = Refuses()
    state = started(policy)
    event = request(CLOUD, slowed(V, "cloud", 4.0), 0.1)
    state, _ = step(state, event)
    assert state.policy is policy
    assert state.beliefs.tiers["cloud"].slowdown.value > 1.0


def test_a_policy_that_tries_plans_out_has_them_put_in_force_whatever_they_score():
    state, run = simulated(TriesOut(), world=World(V, noise=0.0, outliers=0.0, prepare_s=0.1))
    assert [str(switch.plan) for switch in run.switches[:3]] == list(TRIED)
    took = dict(run.state.policy.took)
    assert set(took) >= set(TRIED)
    assert str(run.switches[-1].plan) == min(TRIED, key=took.get)
    assert run.switches[1].reason.startswith("as the policy chose: score ")
    steps = replay(state, run.events)
    assert steps[-1][0] == run.state


def test_one_that_is_not_followed_is_held_by_the_margin():
    _, run = simulated(TriesOut(is_followed=False, plans=(str(CLOUD), str(END))))
    assert [switch.plan for switch in run.switches] == [CLOUD]
    assert len(run.state.policy.took) == 1


def test_it_is_asked_once_per_interval_where_nothing_changes_and_at_once_where_something_does():
    """No evaluation of it is spared, whatever the figures do."""
    asked_s, now_s = [], 0.0

    @dataclass(frozen=True)
    class Asked(TriesOut):
        def __call__(self, graph, profile, goal):
            asked_s.append(now_s)
            return super().__call__(graph, profile, goal)

    state = started(Asked(plans=(str(CLOUD),)))
    asked_s.clear()
    decided_s = set()
    for number in range(100):
        now_s = 0.05 + number / 10
        state, _ = step(state, request(CLOUD, V, now_s))
        decided_s.add(state.decided_s)
    assert max(np.diff(sorted(decided_s))) < 1.2  # requests come every tenth of a second
    assert decided_s - {0.0} <= set(asked_s)
    now_s = 10.06
    state, _ = step(state, TierLost(now_s, "edge"))
    assert now_s in asked_s


def test_what_is_being_prepared_for_it_is_not_dropped_for_its_next_choice():
    choice = END

    class Wavers(TriesOut):
        def __call__(self, graph, profile, goal):
            return choice

    state = started(Wavers())
    choice = CLOUD
    state, actions = step(state, Tick(1.1))
    assert of_kind(actions, Prepare) == [Prepare(CLOUD)]
    choice = SHARED
    state, actions = step(state, Tick(2.2))
    assert (actions, state.pending.plan) == ((), CLOUD)
    _, actions = make_ready(state, CLOUD, 2.3)
    assert [action.plan for action in of_kind(actions, Activate)] == [CLOUD]


def prepares_cloud():
    """A state in which CLOUD is prepared, for a policy that is followed."""
    state = started(TriesOut(plans=(str(END), str(CLOUD))))
    state, actions = feed(state, V, [0.5, 1.1], END)
    assert of_kind(actions, Prepare) == [Prepare(CLOUD)]
    return state


def test_a_plan_of_it_that_cannot_run_is_not_put_in_force():
    state = prepares_cloud()
    state, _ = step(state, Ready(1.2, CLOUD, "end"))
    state, actions = step(state, TierLost(1.3, "cloud"))
    assert state.pending is None
    assert not of_kind(actions, Prepare)  # its choice has no link to the cloud


def test_a_plan_of_it_that_was_refused_waits_as_others_do():
    state, _ = step(prepares_cloud(), PrepareFailed(1.2, CLOUD, "cloud"))
    _, actions = step(state, Tick(2.5))
    assert of_kind(actions, Prepare) == []
    stands = standing(state)
    assert stands.chosen == CLOUD
    assert "could not be prepared" in stands.why


def test_that_its_choice_is_prepared_next_is_said():
    state = started(TriesOut(plans=(str(END), str(CLOUD))))
    state, _ = feed(state, V, [0.5], END)
    stands = standing(state)
    assert (stands.chosen, stands.why) == (CLOUD, "it is prepared next")
    assert not stands.is_settled


def test_a_limit_is_taken_at_its_word_by_one_that_is_followed():
    limits = []

    @dataclass(frozen=True)
    class Notes(TriesOut):
        def __call__(self, graph, profile, goal):
            limits.append(goal.latency_limit_s)
            return CLOUD

    for is_kept_to, least in ((True, 1.0), (False, 0.95)):
        state = started(Notes(is_followed=is_kept_to), goal=replace(GOAL, latency_limit_s=1.0))
        limits.clear()
        step(state, Tick(1.1))
        assert limits == [least]


def test_a_checked_policy_learns_and_is_followed_as_the_one_within():
    policy = checked(TriesOut())
    assert (learns(policy), is_followed(policy), is_followed(score)) == (True, True, False)
    timings = request(CLOUD, V, 0.1).timings
    learned = policy.after(VGG, V, timings)
    assert bare(learned) == TriesOut().after(VGG, V, timings)
    assert learned == checked(bare(learned))
    assert bare(score) is score


def test_what_a_policys_learning_gets_wrong_is_a_plan_error():
    class Wrong(TriesOut):
        def after(self, graph, profile, timings):
            return {"nothing": 1}[timings]

    with pytest.raises(PlanError, match="the policy raised"):
        checked(Wrong()).after(VGG, V, Observed(0.0, ()).timings)

    class Forgets(TriesOut):
        def after(self, graph, profile, timings):
            return score

    with pytest.raises(PlanError, match=r"after\(\) returned CostPolicy, expected the policy"):
        checked(Forgets()).after(VGG, V, ())


def test_it_follows_a_change_by_what_requests_took():
    """On a link that has become slow its plan takes long, and it goes back to the best other."""
    world = World(V, ((4.0, throttled(V)),), noise=0.0, outliers=0.0, prepare_s=0.1)
    _, run = simulated(TriesOut(), 12.0, world)
    late = [switch.plan for switch in run.switches if switch.at_s > 4.0]
    assert late
    assert "cloud" not in late[-1].route


def test_a_policy_that_knows_no_tier_of_these_keeps_the_plan_in_force():
    choice = END

    class Strays(TriesOut):
        def __call__(self, graph, profile, goal):
            if choice is None:
                raise UnknownNameError("no tier 'edge-2'")
            return choice

    state = started(Strays())
    choice = None
    state, actions = step(state, Tick(1.1))
    assert (state.active, state.decided_s, actions) == (END, 1.1, ())


def test_policies_of_others_see_each_tiers_quickest_exact_runtime_as_the_one_in_use():
    seen = []

    @dataclass(frozen=True)
    class Looks(TriesOut):
        plans: tuple[str, ...] = (str(CLOUD),)

        def __call__(self, graph, profile, goal):
            seen.append(profile.runtimes)
            return super().__call__(graph, profile, goal).on(profile.runtimes)

        def after(self, graph, profile, timings):
            seen.append(profile.runtimes)
            return self

    quick = with_layer_times(V, "cloud", row_of(V, "cloud", 0.5))
    quick = with_layer_times(quick, "end", row_of(V, "end", 2.0))
    state = started(Looks(), profile=quick)
    state, _ = feed(state, quick, [0.5, 1.2])
    assert len(seen) > 3
    expected = {"end": "torch", "edge": "torch", "cloud": "onnx"}
    assert all(runtimes == expected for runtimes in seen)
    assert state.active.runtimes["cloud"] == "onnx"
