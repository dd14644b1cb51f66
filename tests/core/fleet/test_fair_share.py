"""Whose turn it is: shares by weight whatever tasks cost, deadlines first where both can be."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesplit.core.fleet.fair_share import QUANTUM_S, FairShare, Head
from edgesplit.errors import ConfigError

COSTS = st.lists(st.floats(0.001, 0.2), min_size=1, max_size=5)
WEIGHTS = st.sampled_from([0.25, 1.0, 4.0])


def share_of(weights):
    made = FairShare()
    for name, weight in weights.items():
        made.join(name, weight)
    return made


def spent(share, costs, turns):
    """Seconds of each, who all wait, after so many turns; costs[name]: of its tasks, in turn."""
    seconds, taken = Counter(dict.fromkeys(costs, 0.0)), Counter()
    for _ in range(turns):
        name = share.turn(dict.fromkeys(costs, Head()), 0.0)
        cost = costs[name][taken[name] % len(costs[name])]
        taken[name] += 1
        seconds[name] += cost
        share.charge(name, cost, others_wait=len(costs) > 1)
    return seconds


@given(
    st.dictionaries(st.sampled_from("abcd"), st.tuples(WEIGHTS, COSTS), min_size=2),
    st.integers(1, 300),
)
def test_nobody_who_waits_falls_behind_his_share(given_, turns):
    """By more than a turn's quantum and a task of each: the bound of deficit round robin."""
    share = share_of({name: weight for name, (weight, _) in given_.items()})
    costs = {name: cost for name, (_, cost) in given_.items()}
    seconds = spent(share, costs, turns)
    for one, (weight, _) in given_.items():
        for other, (others, _) in given_.items():
            slack = 2 * QUANTUM_S + max(costs[one]) / weight + max(costs[other]) / others
            assert seconds[one] / weight <= seconds[other] / others + slack


def test_a_flood_of_long_tasks_gets_half_and_not_more():
    seconds = spent(share_of({"flood": 1.0, "small": 1.0}), {"flood": [0.2], "small": [0.01]}, 2000)
    assert seconds["flood"] == pytest.approx(seconds["small"], rel=0.05)


def test_weights_are_shares():
    weights = {"low": 0.25, "normal": 1.0, "high": 4.0}
    seconds = spent(share_of(weights), {name: [0.01] for name in weights}, 5000)
    for name, weight in weights.items():
        assert seconds[name] / sum(seconds.values()) == pytest.approx(weight / 5.25, rel=0.05)


def test_what_was_computed_alone_is_not_held_against_anybody():
    share = share_of({"a": 1.0, "b": 1.0})
    for _ in range(100):
        assert share.turn({"a": Head()}, 0.0) == "a"
        share.charge("a", 1.0, others_wait=False)
    both = dict.fromkeys("ab", Head())
    turns = []
    for _ in range(6):
        turns.append(share.turn(both, 0.0))
        share.charge(turns[-1], 1.0, others_wait=True)
    assert sorted(turns) == list("aaabbb")


def test_whoever_was_away_has_saved_nothing_up():
    share = share_of({"a": 1.0, "b": 1.0, "c": 1.0})
    for _ in range(50):
        name = share.turn(dict.fromkeys("ab", Head()), 0.0)
        share.charge(name, 1.0, others_wait=True)
    turns = Counter()
    for _ in range(30):
        name = share.turn(dict.fromkeys("abc", Head()), 0.0)
        turns[name] += 1
        share.charge(name, 1.0, others_wait=True)
    assert max(turns.values()) - min(turns.values()) <= 1


def test_one_who_leaves_and_one_who_joins():
    share = share_of({"a": 1.0, "b": 1.0})
    share.leave("a")
    share.leave("a")
    share.charge("a", 1.0, others_wait=True)
    share.join("c")
    turns = []
    for _ in range(4):
        turns.append(share.turn(dict.fromkeys("bc", Head()), 0.0))
        share.charge(turns[-1], 1.0, others_wait=True)
    assert sorted(turns) == list("bbcc")


# Deadlines: a has the turn, b is asked about.
@pytest.mark.parametrize(
    ("a", "b", "first"),
    [
        (Head(math.inf, 1.0), Head(math.inf, 1.0), "a"),
        (Head(math.inf, 1.0), Head(0.5, 1.0), "b"),  # it would be too late after a
        (Head(math.inf, 1.0), Head(1.5, 1.0), "a"),  # after a it is still in time
        (Head(0.8, 1.0), Head(0.5, 1.0), "a"),  # a would be too late then
        (Head(1.2, 1.0), Head(0.5, 1.0), "b"),
        (Head(math.inf, 1.0), Head(-0.1, 1.0), "a"),  # it is too late anyway
    ],
)
def test_a_deadline_goes_first_where_both_can_be_kept(a, b, first):
    assert share_of({"a": 1.0, "b": 1.0}).turn({"a": a, "b": b}, 0.0) == first


def test_short_deadlines_are_no_way_to_have_more():
    share, seconds = share_of({"hasty": 1.0, "calm": 1.0}), Counter()
    for n in range(400):
        heads = {"hasty": Head(n + 0.5, 1.0), "calm": Head(math.inf, 1.0)}
        name = share.turn(heads, float(n))
        seconds[name] += 1
        share.charge(name, 1.0, others_wait=True)
    assert seconds["hasty"] == pytest.approx(200, abs=2)


def test_a_debt_that_rounding_leaves_at_nothing_keeps_nobody_from_his_turn():
    """119 x 0.08 s, divided by 0.08 s, is a little below 119."""
    share = share_of({"a": 4.0, "b": 4.0})
    for name in "ab":
        share.charge(name, 1.0, others_wait=False)
        share.charge(name, 119 * 4.0 * QUANTUM_S, others_wait=True)
    assert share.turn(dict.fromkeys("ab", Head()), 0.0) in "ab"


@pytest.mark.parametrize("weight", [1e-320, 1e-18, 0.0, -1.0, math.nan, math.inf, 1e9, "1", None])
def test_a_weight_that_would_end_all_turns_is_refused(weight):
    share = share_of({"a": 1.0})
    with pytest.raises(ConfigError, match=r"weight must be from 0\.001 to 1000"):
        share.join("b", weight)
    assert share.turn({"a": Head()}, 0.0) == "a"
