"""The fleet's arrays against the product's planner and cost model, and what prices do to it."""

from dataclasses import replace

import numpy as np
import pytest

from edgesplit.core.fleet.pressure import Pressure
from edgesplit.core.policies.policy import decide
from experiments.fleet.bound import lp_bound
from experiments.fleet.devices import GOAL, capacities, devices
from experiments.fleet.plans import Fleet, routes
from experiments.fleet.rounds import whole
from experiments.fleet.sides import side
from experiments.fleet.story import FULL_TIER, chapters, told


def fleet_of(count, edges, seed=1):
    return Fleet(devices(np.random.default_rng(seed), count, edges), edges)


def test_every_device_gets_as_good_a_plan_as_the_planner_gives_it():
    generator, edges = np.random.default_rng(7), 4
    made = sorted(devices(np.random.default_rng(2), 40, edges), key=lambda one: len(one.graph))
    fleet, kinds = Fleet(made, edges), set()
    for scale in (0.0, 1.0, 5.0, 50.0):
        prices = scale * generator.exponential(1.0, edges + 1)
        choice = fleet.plan(prices)
        for number, device in enumerate(made):
            own = prices[[*device.edges, edges]]
            tiers = [
                replace(tier, pressure=Pressure(load=float(price)))
                for tier, price in zip(device.profile.tiers, (0.0, *own), strict=True)
            ]
            cost = decide(device.graph, replace(device.profile, tiers=tuple(tiers)), GOAL).cost
            price = float(own @ choice.use_s[number]) / fleet.reference_s[number]
            assert choice.score[number] + price == pytest.approx(cost.score, rel=1e-7)
            assert choice.score[number] == pytest.approx(cost.score - cost.price, rel=1e-6)
            assert choice.latency_s[number] == pytest.approx(cost.latency_s, rel=1e-6)
            kinds.add(cost.plan.route)
    assert len(kinds) >= 4


def test_every_route_is_tried():
    assert len(list(routes())) == 10
    assert (0, 3, 1) in list(routes())


def test_prices_come_near_the_bound_and_leave_no_tier_over():
    edges = 4
    fleet = fleet_of(120, edges)
    story = list(chapters(fleet, capacities(edges), (60, 30)))
    for part in told(fleet, story, lambda: None):
        scene, last = part.chapter.scene, part.rows[-1]
        assert part.bound.relaxed == pytest.approx(part.bound.lower, rel=1e-6)
        assert -1e-9 <= last["gap"] < 0.02
        assert last["worst_fitted"] <= FULL_TIER
        assert scene.demand(part.plans)[scene.is_dead].sum() == 0.0
        assert (part.plans.use_s[scene.is_dead[fleet.tiers]] == 0).all()
        if part.chapter.look_every == 1:
            assert part.converged_after is None or part.converged_after <= 30
        # The bound's own prices are where those of the tiers went.
        near = np.log1p(part.prices) - np.log1p(part.bound.prices)
        assert np.abs(near[~scene.is_dead]).max() < 0.35


def test_each_for_itself_asks_for_more_than_there_is():
    fleet = fleet_of(120, 4)
    scene = whole(fleet, capacities(4))
    selfish = scene.plan(np.zeros(5))
    bound = lp_bound(scene, [selfish])
    assert scene.demand(selfish).max() > 2.0
    assert scene.score(selfish) < bound.lower
    row = side("each for itself", scene, selfish, bound.lower)
    assert row["without_end"] > 0.3
    assert row["p99_s"] is None
    alone = side("alone", scene, scene.plan(np.full(5, 1e9)), bound.lower)
    assert alone["edges_worst"] == alone["cloud"] == alone["without_end"] == 0.0
    assert alone["score"] == pytest.approx(1.0)


def test_the_bound_is_that_of_the_program_with_every_plan():
    """Of few devices: all columns at once, by HiGHS."""
    fleet = fleet_of(6, 2)
    scene = whole(fleet, capacities(2) / 20)
    generator, scales = np.random.default_rng(0), np.geomspace(0.05, 500, 400)
    plans = [scene.plan(scale * generator.exponential(1.0, 3)) for scale in scales]
    many, few = lp_bound(scene, plans), lp_bound(scene, [])
    assert few.lower == pytest.approx(many.lower, rel=1e-6)
    assert few.relaxed == pytest.approx(many.relaxed, rel=1e-6)
    for choice in plans:
        if (scene.demand(choice) <= 1).all():
            assert scene.score(choice) >= few.lower - 1e-9
