"""experiments.head_to_head.played: the comparison of both forms, and what is left out of it."""

from dataclasses import replace

import numpy as np
import pytest

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from experiments.head_to_head.condition import FIRST_S
from experiments.head_to_head.played import (
    compared,
    later,
    replayed,
    slowdowns_of,
    slowed,
    verdicts,
    whole_slots,
)
from experiments.head_to_head.rows import OURS
from experiments.head_to_head.table import stated_tables
from experiments.head_to_head.turns import Sent
from experiments.head_to_head.world import World
from experiments.shared.trace_class import generated

NAMES = (OURS, "scission", "dynasplit")


@pytest.fixture(scope="module")
def world():
    table = stated_tables()[0]
    trace = generated("subway", 300, 1)
    return World(table.graph, table.profile, later(trace))


def sent_as(world, slower=1.0, tiers_slower=1.0):
    """As if what a replay with another seed gave had been played."""
    at_s, found = np.arange(40.0), []
    met = replace(
        world, profile=slowed(world.profile, dict.fromkeys(("end", "edge", "cloud"), tiers_slower))
    )
    for name in NAMES:
        served = replayed(name, (met, world), Goal(), at_s, seed=7)
        alone = served.end_j - served.besides[0], served.total_j - served.besides[1]
        columns = (served.latency_s, *alone, served.plans)
        for slot, (latency_s, end_j, total_j, plan) in enumerate(zip(*columns, strict=True)):
            figures = slower * latency_s, slower * end_j, slower * total_j
            found.append(Sent(slot, name, float(at_s[slot]), plan, *figures))
    return found


@pytest.mark.parametrize(("slower", "within"), [(1.0, 3), (1.3, 0)])
def test_what_was_played_is_replayed_alike(world, slower, within):
    cost = CostModel(world.graph, world.profile, Goal())
    rows = compared(whole_slots(sent_as(world, slower)), (world, world), cost, seed=3)
    assert [row["played_score"] for row in rows] == sorted(row["played_score"] for row in rows)
    assert all(row["low"] <= row["played_score"] <= row["high"] for row in rows)
    found = verdicts(rows)
    assert (found["within_10_percent"], found["policies"]) == (within, 3)
    assert found["of_these_in_the_same_order"] == found["pairs_apart_beyond_noise"]
    assert found["best_played"] == found["best_replayed"]


def test_slots_in_which_one_failed_are_left_out_for_all(world):
    sent = sent_as(world)
    sent[3] = replace(sent[3], error="gone")
    sent[50] = replace(sent[50], total_j=float("nan"))
    whole = whole_slots(sent)
    assert {len(requests) for requests in whole.values()} == {38}
    assert all(one.slot not in (3, 10) for requests in whole.values() for one in requests)


def test_the_trace_begins_when_requests_do():
    trace = generated("bus", 20, 0)
    moved = later(trace)
    for at_s in (0.0, 0.5, 7.2, 19.9):
        assert moved.rate(at_s + FIRST_S) == trace.rate(at_s)


def test_tiers_are_replayed_as_quick_as_they_were_while_played(world):
    layer_s = world.profile.tier("end").layer_s
    computed = [("end", 0, 2, 1.5 * sum(layer_s[:2]))], [("end", 2, 4, 2.5 * sum(layer_s[2:4]))]
    sent = [Sent(n, OURS, float(n), "end:0-4", computed=one) for n, one in enumerate(computed)]
    slowdowns = slowdowns_of(sent, world.profile)
    assert slowdowns.keys() == {"end"}
    assert 1.5 < slowdowns["end"] < 2.5

    sent, cost = sent_as(world, tiers_slower=1.6), CostModel(world.graph, world.profile, Goal())
    met = replace(world, profile=slowed(world.profile, dict.fromkeys(world.profile.names, 1.6)))
    for true, is_near in ((met, True), (world, False)):
        rows = compared(whole_slots(sent), (true, world), cost, seed=3)
        # EdgeSplit's few late requests are another draw with another seed.
        off = [row["replayed_over_played"] for row in rows if row["policy"] != OURS]
        assert (max(map(abs, off)) < 0.1) == is_near
