"""The best static plan in hindsight, against the mean score of every plan."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_cases import three_tiers, vgg_like
from planner_problems import problems

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.hindsight import Hindsight
from edgesplit.core.profile import Profile
from edgesplit.errors import PlanError, ProfileError
from experiments.shared.exhaustive import every_plan

GRAPH, WORK = vgg_like()


def changed(profile, seed):
    """The same tiers and links, slower or quicker; layer times that have changed, too."""
    generator = np.random.default_rng(seed)
    tiers = [
        replace(
            tier,
            slowdown=float(generator.uniform(0.5, 4)),
            layer_s=tuple(s * float(generator.uniform(0.5, 2)) for s in tier.layer_s),
        )
        for tier in profile.tiers
    ]
    links = [
        replace(
            link,
            latency_s=link.latency_s * float(generator.uniform(0.5, 2)),
            bytes_per_s=link.bytes_per_s * float(generator.uniform(0.1, 2)),
        )
        for link in profile.links
    ]
    return replace(profile, tiers=tuple(tiers), links=tuple(links))


@settings(max_examples=60, deadline=None)
@given(problems(most_rows=1), st.integers(0, 1000), st.booleans())
def test_no_plan_has_a_smaller_mean(problem, seed, is_weighted):
    graph, profile, goal = problem
    goal = replace(goal, memory_bytes={})
    profiles = (profile, changed(profile, seed), changed(profile, seed + 1))
    seen = Hindsight(graph, goal, profiles, (1.0, 5.0, 2.5) if is_weighted else ())
    best = seen.best()
    kept = [
        plan for plan in every_plan(graph, profile) if plan.stages[0].stop >= goal.min_end_layers
    ]
    assert best.score == pytest.approx(seen.best_of(kept).score, abs=1e-6)
    assert best.score == pytest.approx(seen.mean_score(best.plan))


def test_the_mean_score_is_one_of_scores_under_one_reference():
    slow = three_tiers(WORK, 5)
    profiles = (three_tiers(WORK, 50), slow)
    plan = parse_plan("end:0-6 | edge:6-21")
    reference = CostModel(GRAPH, profiles[0], Goal()).score_reference
    fixed = [replace(profile, score_reference=reference) for profile in profiles]
    scores = [CostModel(GRAPH, profile, Goal()).cost(plan).score for profile in fixed]
    seen = Hindsight(GRAPH, Goal(), profiles, (3.0, 1.0))
    assert seen.mean_score(plan) == pytest.approx(0.75 * scores[0] + 0.25 * scores[1])


def test_a_link_that_was_away():
    """Every plan over it has no mean; the best one uses what was always there."""
    whole = three_tiers(WORK, 500)
    seen = Hindsight(GRAPH, Goal(0.0, 0.0, 1.0), (whole, whole, whole.without(["edge"])))
    assert seen.mean_score(parse_plan("end:0-6 | edge:6-21")) == math.inf
    assert "edge" not in seen.best().plan.route
    trivial = [parse_plan("end:0-0 | edge:0-21"), parse_plan("end:0-0 | cloud:0-21")]
    assert seen.best_of(trivial).plan == trivial[1]


@pytest.mark.parametrize(
    ("profiles", "weights", "said"),
    [
        ((), (), "nothing to look back at"),
        ((three_tiers(WORK, 5),), (1.0, 2.0), "1 profiles have 2 weights"),
        ((three_tiers(WORK, 5),), (0.0,), "must be above 0"),
        ((three_tiers(WORK, 5),), (math.nan,), "must be above 0"),
        (
            (three_tiers(WORK, 5), Profile(three_tiers(WORK, 5).tiers[:2], ())),
            (),
            "other tiers or runtimes",
        ),
    ],
)
def test_what_is_refused(profiles, weights, said):
    with pytest.raises(ProfileError, match=said):
        Hindsight(GRAPH, Goal(), profiles, weights)


def test_no_plans_at_all():
    with pytest.raises(PlanError, match="no plans to choose from"):
        Hindsight(GRAPH, Goal(), (three_tiers(WORK, 5),)).best_of([])
