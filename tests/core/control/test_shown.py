"""Ranges that are no sum of their layers: what they show is kept apart from a tier's speed."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from control_cases import request, started
from worlds import VGG, chain, row_of

from edgesplit.core.control.event import LayerTimesMeasured
from edgesplit.core.control.shown import RangeTime, fitted
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import Settings, current_profile
from edgesplit.core.control.step import begin, step
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan, Stage, parse_plan
from edgesplit.core.policies.policy import score

A, B = parse_plan("end:0-5 | cloud:5-16"), parse_plan("end:0-1 | cloud:1-16")
SHORT, LONG = Stage("end", 0, 1), Stage("end", 0, 5)


def star(graph=VGG):
    """The three tiers of the chain, with the end tier linked to the cloud as well."""
    profile = chain(graph)
    ways = [replace(profile.links[0], source=a, target=b) for a, b in
            (("end", "cloud"), ("cloud", "end"))]  # fmt: skip
    return replace(profile, links=(*profile.links, *ways))


def with_layers(profile, tier: str, factors: dict[int, float]):
    """The same with some of one tier's layers slower by a factor."""
    old = profile.tier(tier)
    layer_s = tuple(s * factors.get(i, 1.0) for i, s in enumerate(old.layer_s))
    return profile.with_tier(replace(old, layer_s=layer_s))


def served(state, plan: Plan, true, count: int):
    """So many requests along that plan, whichever is in force."""
    for _ in range(count):
        state, _ = step(state, request(plan, true, state.now_s + 0.5))
    return state


def seconds(state, stage: Stage) -> float:
    tier = current_profile(state).tier(stage.tier)
    return sum(tier.layer_s_in(stage.runtime)[stage.start : stage.stop]) * tier.slowdown


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], [1, 1, 2, 4]),
        ([(0, 4, 8.0)], [1, 1, 2, 4]),
        ([(0, 4, 16.0)], [2, 2, 4, 8]),
        ([(0, 1, 0.5)], [0.5, 1, 2, 4]),
        ([(0, 1, 0.5), (0, 2, 2.0)], [0.5, 1.5, 2, 4]),
        ([(0, 2, 2.0), (0, 1, 0.5)], [0.5, 1.5, 2, 4]),
        ([(1, 3, 6.0), (3, 4, 3.0)], [1, 2, 4, 3]),
        ([(0, 1, 0.0)], [0.1, 1, 2, 4]),  # no layer is believed to take nothing
        ([(0, 1, 1.0), (0, 1, 3.0)], [2, 1, 2, 4]),  # at odds: the middle
    ],
)
def test_the_least_change_that_agrees_with_what_was_shown(ranges, expected):
    shown = [RangeTime(Stage("end", a, b), took_s) for a, b, took_s in ranges]
    assert fitted([1.0, 1.0, 2.0, 4.0], shown) == pytest.approx(expected)


def test_fitted_times_meet_random_ranges_of_one_device():
    rng = np.random.default_rng(0)
    for _ in range(100):
        n = int(rng.integers(2, 40))
        profiled, true = rng.uniform(0.1, 1.0, (2, n))
        cuts = sorted(rng.choice(np.arange(1, n + 1), size=min(4, n), replace=False).tolist())
        shown = [RangeTime(Stage("end", 0, k), float(true[:k].sum())) for k in cuts]
        row = np.array(fitted(profiled, shown))
        for k, (a, b) in zip(cuts, itertools.pairwise([0, *cuts]), strict=True):
            if (row > 0.1001 * profiled).all():
                assert row[:k].sum() == pytest.approx(true[:k].sum())
                ratios = row[a:b] / profiled[a:b]  # a block changes as one
                assert ratios == pytest.approx(np.full(b - a, ratios[0]))


TRUE = with_layers(star(), "end", {0: 0.5, 1: 1.375, 2: 1.375, 3: 1.375, 4: 1.375})  # A 1.2, B 0.5


def turns(state, true, *counts: int):
    """Requests along A and B by turns, so many each."""
    for number, count in enumerate(counts):
        state = served(state, (A, B)[number % 2], true, count)
    return state


def test_ranges_that_disagree_again_as_before_are_told_apart():
    state = turns(started(profile=star()), TRUE, 6, 6, 2)
    assert state.beliefs.tiers["end"].shown.layer_s == {}
    state = served(state, A, TRUE, 1)
    for count in (0, 6, 6):
        state = turns(state, TRUE, count, count)
        assert seconds(state, SHORT) == pytest.approx(0.5 * 0.4 / 16, rel=0.02)
        assert seconds(state, LONG) == pytest.approx(1.2 * 5 * 0.4 / 16, rel=0.02)
        assert state.beliefs.tiers["end"].slowdown.value == pytest.approx(1.2, rel=0.02)


@pytest.mark.parametrize("counts", [(6, 6), (6, 6, 2), (3, 3, 3, 3, 3), (6, 2, 6, 2, 6, 2)])
def test_less_is_no_proof(counts):
    state = turns(started(profile=star()), TRUE, *counts)
    assert state.beliefs.tiers["end"].shown.layer_s == {}


def test_a_load_that_comes_and_goes_with_the_plans_is_the_tier_s_speed():
    """Each change of speed is seen on the plan in force, which is then left for it."""
    slow = star().with_tier(replace(star().tier("end"), slowdown=3.0))
    state = started(profile=star())
    for _ in range(3):
        state = served(state, A, star(), 6)
        state = served(state, A, slow, 6)
        state = served(state, B, slow, 6)
        state = served(state, B, star(), 6)
    assert state.beliefs.tiers["end"].shown.layer_s == {}
    assert state.beliefs.tiers["end"].slowdown.value == pytest.approx(1.0, rel=0.05)


def test_a_tier_that_becomes_slower_is_slower_in_every_range():
    state = turns(started(profile=star()), TRUE, 6, 6, 6, 6)
    slow = TRUE.with_tier(replace(TRUE.tier("end"), slowdown=3.0))
    state = served(state, B, slow, 8)
    assert seconds(state, SHORT) == pytest.approx(3 * 0.5 * 0.4 / 16, rel=0.05)
    assert seconds(state, LONG) == pytest.approx(3 * 1.2 * 5 * 0.4 / 16, rel=0.05)


def test_what_a_range_showed_goes_with_the_layer_times_of_its_runtime():
    state = turns(started(profile=star()), TRUE, 6, 6, 6, 6)
    times = row_of(star(), "end", 2.0, "torch")
    state, _ = step(state, LayerTimesMeasured(state.now_s, "end", times))
    shown = state.beliefs.tiers["end"].shown
    assert (shown.took, shown.ranges, shown.layer_s) == ((), (), {})


@pytest.mark.parametrize("payload_mb", [3, 4, 5, 6])
@pytest.mark.parametrize("seed", range(3))
def test_two_plans_do_not_take_over_from_each_other_for_ever(payload_mb, seed):
    """A takes longer than its layers and B less: each looks worse while it runs."""
    sizes = (20_000_000, payload_mb * 1_000_000, *(20_000_000,) * 3, *(800_000,) * 12)
    graph, goal = replace(VGG, payload_bytes=sizes), Goal(0.6, 0.2, 0.2, min_end_layers=1)
    run = simulate(
        begin(graph, star(graph), goal, score, Settings(), 0.0),
        World(TRUE, noise=0.05), 120.0, np.random.default_rng(seed),
    )  # fmt: skip
    assert {switch.plan for switch in run.switches} <= {A, B}
    assert len(run.switches) <= 4
    assert run.switches[-1].at_s < 40
