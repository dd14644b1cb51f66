"""When a hedge begins: by hand, and what the prices of a goal make of it."""

import math
from dataclasses import replace

import pytest

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.hedge import WINDOW, HedgeBudget, HedgeRule, PayloadProgress, hedge_rules
from edgesplit.core.plan import parse_plan
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier

POWER = Power(10.0, 4.0, 4.0, 2.0)
GRAPH = Graph("four", tuple("abcd"), (100, 100, 100, 100, 50), (1,) * 4)
PAIRS = [("end", "edge"), ("edge", "end"), ("edge", "cloud"), ("cloud", "edge")]
PROFILE = Profile(
    (
        Tier("end", (0.5,) * 4, POWER),
        Tier("edge", (0.1,) * 4, POWER),
        Tier("cloud", (0.01,) * 4, POWER),
    ),
    tuple(Link(*pair, 0.05, 1000.0) for pair in PAIRS),
)
REPLY_S = 0.05 + 0.05 + 0.05  # both latencies, and 50 bytes


def rules(text, goal=None, profile=PROFILE):
    return hedge_rules(CostModel(GRAPH, profile, goal or Goal()), parse_plan(text))


def test_what_each_sender_waits_for_and_could_do_itself():
    caller, end, edge = rules("end:0-1 | edge:1-2 | cloud:2-4", Goal(0.0, 0.0, 1.0))
    hop_s = 0.1 + REPLY_S
    assert edge.answer_s == pytest.approx(0.02 + REPLY_S)
    assert end.answer_s == pytest.approx(0.1 + REPLY_S + hop_s + 0.02)
    assert caller.answer_s == pytest.approx(0.5 + hop_s + 0.1 + hop_s + 0.02)
    assert (caller.rest_s, end.rest_s, edge.rest_s) == pytest.approx((2.0, 1.5, 0.2))
    assert {rule.price_s for rule in (caller, end, edge)} == {0.0}


def test_joules_are_seconds_at_the_rate_of_the_score():
    """The all-on-end plan is the reference: 20 J and 2 s are worth as much where weights are."""
    _, end = rules("end:0-1 | edge:1-4", Goal(0.5, 0.0, 0.5))
    assert end.price_s == pytest.approx(15.0 / 20.0 * 2.0)
    assert end.sending == pytest.approx(1 + 4.0 / 20.0 * 2.0)  # watts of sending
    _, end = rules("end:0-1 | edge:1-4", Goal(0.9, 0.0, 0.1))
    assert end.price_s == pytest.approx(9 * 15.0 / 20.0 * 2.0)
    *_, edge = rules("end:0-1 | edge:1-2 | cloud:2-4", Goal(0.5, 0.0, 0.5))
    assert (edge.price_s, edge.sending) == (0.0, 1.0)  # whose joules the goal does not count


def test_a_limit_is_what_is_left_of_it_where_the_payload_leaves():
    limited = Goal(1.0, 0.0, 0.0, latency_limit_s=0.8)
    caller, end = rules("end:0-1 | edge:1-4", limited)
    assert (caller.limit_s, end.limit_s) == pytest.approx((0.8, 0.3))
    assert rules("end:0-1 | edge:1-4", Goal(1.0, 0.0, 0.0)) == (None, None)  # time is worth nothing


def test_a_link_that_is_not_known_is_not_hedged_against():
    _, end = rules("end:0-0 | cloud:0-4")
    assert end is None


@pytest.mark.parametrize(
    ("elapsed_s", "sending_s", "waiting_s", "is_due"),
    [
        (1.0, 1.0, 0.29, False),
        (1.0, 1.0, 0.31, True),  # 1.25 x 0.2 + 0.05 + 1
        (0.05, 9.0, 9.0, False),  # too early to say
        (1.0, 0.0, 1.31, True),
    ],
)
def test_it_is_due_where_the_answer_is_later_by_a_margin(elapsed_s, sending_s, waiting_s, is_due):
    rule = HedgeRule(rest_s=0.2, answer_s=0.1, price_s=1.0)
    assert rule.is_due(elapsed_s, sending_s, waiting_s) is is_due


def test_a_limit_that_would_be_missed_waives_the_price():
    rule = HedgeRule(rest_s=0.2, answer_s=0.1, price_s=100.0, limit_s=1.0)
    assert rule.is_due(0.4, 1.0, 0.1)
    assert not rule.is_due(0.4, 0.4, 0.1)  # it will be met
    assert not rule.is_due(0.8, 1.0, 0.1)  # an own answer would miss it too


def test_what_is_overdue_takes_as_long_again():
    rule = HedgeRule(rest_s=0.2, answer_s=0.5, price_s=0.0)
    assert rule.waiting_s(0.2) == pytest.approx(0.3)
    assert rule.waiting_s(0.9) == 0.0  # a prediction may be wrong by half
    assert rule.waiting_s(1.5) == pytest.approx(1.0)


def test_requests_that_waited_before_it_may_take_as_long_each():
    rule = HedgeRule(rest_s=0.2, answer_s=0.5, price_s=0.0)
    assert rule.waiting_s(0.2, ahead=2) == pytest.approx(1.3)
    assert rule.waiting_s(2.9, ahead=2) == 0.0
    assert rule.waiting_s(3.1, ahead=2) == pytest.approx(1.6)
    assert (rule.overdue_s(), rule.overdue_s(ahead=2)) == pytest.approx((1.0, 3.0))


def test_a_payload_is_expected_to_go_on_as_it_went_of_late():
    payload = PayloadProgress(10_000, 0.0)
    assert payload.expected_s() == 0.0
    for n in range(1, 5):
        payload.look(n / 10, 10_000 - 1000 * n)
    assert payload.expected_s() == pytest.approx(0.6)
    assert (payload.sent_bytes, payload.moving_s) == (4000, pytest.approx(0.4))
    for n in range(5, 10):  # then a tenth of that
        payload.look(n / 10, 6000 - 100 * (n - 4))
    assert payload.expected_s() == pytest.approx(0.5 * 550 / 50)
    payload.look(2.0, 5500)  # nothing for a while, which says nothing of the rate
    assert payload.moving_s == pytest.approx(0.9)
    assert payload.expected_s() == pytest.approx(3 * 1.1)  # and may last
    payload.look(2.1, 0)
    assert payload.expected_s() == 0.0


@pytest.mark.parametrize(("n_bytes", "factor"), [(10_000, 3), (1000, 1)])
def test_what_stands_still_may_do_so_for_three_times_as_long_unless_it_is_one_packet(
    n_bytes, factor
):
    payload = PayloadProgress(n_bytes, 1.0)
    payload.look(1.3, n_bytes)
    assert payload.expected_s() == pytest.approx(factor * 0.3)


def test_the_longest_pause_says_nothing_of_the_rate_but_all_others_do():
    """A packet a second: after the first one there is nothing but the pause before it."""
    payload = PayloadProgress(1000, 0.0)
    seen = []
    for tenth in range(1, 32):
        payload.look(tenth / 10, 1000 - tenth // 10)
        seen.append(payload.moving_s)
    assert seen[8:10] == [0.0, pytest.approx(0.1)]
    assert (seen[19], seen[29]) == pytest.approx((2.0 - 0.9, 3.0 - 0.9))
    assert payload.sent_bytes == 3


def test_what_is_ahead_of_a_payload_counts_as_well():
    """From the first look on: what had left of that before is not known."""
    payload = PayloadProgress(1000, 0.0)
    assert payload.own_share == 1.0
    payload.look(0.1, 4000)
    assert payload.own_share == pytest.approx(1 / 4)
    payload.look(0.2, 3500)
    assert payload.expected_s() == pytest.approx(0.1 * 3500 / 500)
    assert (payload.sent_bytes, payload.moving_s) == (500, pytest.approx(0.1))
    payload.look(0.9, 500)
    assert payload.own_share == 1.0
    payload.look(1.0, 0)
    assert payload.own_share == 1.0


@pytest.mark.parametrize(("share", "most"), [(0.05, WINDOW // 20), (0.0, 0), (1.0, WINDOW)])
def test_no_window_of_requests_has_more_duplicates_than_its_share(share, most):
    budget, taken = HedgeBudget(share), []
    for number in range(3 * WINDOW):
        budget.count()
        taken += [number] if budget.take() else []
    for first in range(2 * WINDOW):
        assert sum(first <= number < first + WINDOW for number in taken) <= most
    assert len(taken) == 3 * most


def test_seconds_and_joules_that_are_nothing_cost_nothing():
    free = replace(PROFILE, tiers=tuple(replace(t, power=Power(0, 0, 0, 0)) for t in PROFILE.tiers))
    _, end = rules("end:0-1 | edge:1-4", Goal(0.5, 0.0, 0.5), free)
    assert (end.price_s, end.sending) == (0.0, 1.0)
    assert math.isfinite(end.answer_s)
