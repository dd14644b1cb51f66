"""What sessions that share a tier see of it: others' load, and a price that balances them."""

import math
from dataclasses import replace

import pytest

from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.fleet.tier_demand import TARGET, TierDemand, TierWord
from edgesplit.errors import ProfileError

HOST = HostLoad(utilisation=0.2, free_bytes=5, total_bytes=10, temperature_c=50.0)


def after(words, demand=None):
    demand = demand or TierDemand("edge-1")
    for busy in words:
        demand = demand.after(TierWord(busy=busy))
    return demand


@pytest.mark.parametrize(
    ("word", "utilisation", "waiting"),
    [
        # alone: what the host says, its own work and its own queue are no load
        (TierWord(HOST, {"me": 0.6}, {"me": 2.0}), 0.2, None),
        (TierWord(HOST, {"me": 0.6, "idle": 0.0, "probing": 0.01}, {"me": 2.0}), 0.2, None),
        (TierWord(HOST, {}, {}), 0.2, None),
        # others' shares are added; they waited 0.3 s per second for 0.5 s of computing
        (
            TierWord(HOST, {"me": 0.3, "a": 0.2, "b": 0.3}, {"me": 9.0, "a": 0.1, "b": 0.2}),
            0.7,
            0.6,
        ),
        (TierWord(HOST, {"me": 0.0, "a": 0.5}), 0.7, 0.0),
        (TierWord(HOST, {"me": 0.0, "a": 0.9}), 1.0, 0.0),
        (TierWord(HostLoad(), {"me": 0.5, "a": 0.25}, {"a": 1.0}), 0.25, 4.0),
        (TierWord(HostLoad(waiting=7.0), {"me": 0.5, "a": 0.25}, {"a": 1.0}), 0.25, 7.0),
    ],
)  # fmt: skip
def test_what_a_session_sees(word, utilisation, waiting):
    seen = word.seen_by("me")
    assert seen.utilisation == pytest.approx(utilisation)
    assert seen.waiting == pytest.approx(waiting)
    assert replace(seen, utilisation=None, waiting=None) == replace(
        word.host, utilisation=None, waiting=None
    )
    assert TierDemand("edge-1").after(word).seen_by("me") == seen


def test_a_lone_session_sees_its_host_and_no_price_however_busy_it_is():
    demand = after([{"me": 1.0, "idle": 0.0}] * 60)
    assert demand.price.value == 0.0
    assert demand.seen_by("me") == HostLoad()
    assert demand.price_for("me") == demand.price_for("idle") == 0.0


def test_below_the_target_there_is_no_price():
    assert after([{"a": 0.4, "b": TARGET - 0.4}] * 60).price.value == 0.0


def test_the_first_seconds_over_the_target_by_hand():
    over = {"a": 0.5, "b": 0.55}  # 1.5 times the target
    first = after([over])
    assert first.price.value == pytest.approx(math.exp(1.1 * 0.05 * 0.5) - 1)
    second = after([over], first).price
    assert second.value == pytest.approx((1 + first.price.value) * math.exp(0.055 * 0.5) - 1)
    assert second.step == 0.05


def test_a_price_stays_where_who_left_would_not_fit_and_falls_where_it_would():
    crowded = after([{"a": 0.5, "b": 0.5}] * 30)
    left = after([{"a": 0.5, "b": 0.0}] * 30, crowded)
    assert left.price.value == after([{"a": 0.5, "b": 0.0}], crowded).price.value > 0.0
    assert left.left == {"b": 0.5}
    assert left.price_for("a") == 0.0 < left.price_for("b")  # a has the tier to itself
    less = after([{"a": 0.1, "b": 0.0}] * 30, left)
    assert less.price.value < left.price.value
    gone = after([{"a": 0.5}] * 120, left)  # b has ended: nobody is there to come back
    assert gone.left == {}
    assert gone.price.value == 0.0
    assert after([{"a": 0.0, "b": 0.0}] * 60, left).price.value < left.price.value


def test_a_small_session_that_would_fit_is_let_in_again():
    crowded = after([{"big": 0.6, "small": 0.15}] * 30)
    left = after([{"big": 0.5, "small": 0.0}] * 90, crowded)
    assert crowded.price.value > 0.0 == left.price.value


def test_equal_sessions_see_prices_that_differ_and_on_another_tier_in_another_order():
    sessions = [f"s{n}" for n in range(50)]
    word = TierWord(busy=dict.fromkeys(sessions, 0.1))
    one, other = (TierDemand(tier).after(word).after(word) for tier in ("edge-1", "edge-2"))
    prices = [one.price_for(session) for session in sessions]
    assert len(set(prices)) == 50
    assert 0.7 < min(prices) / one.price.value < 0.8 < 1.3 < max(prices) / one.price.value < 1.42
    first = [max(sessions, key=demand.price_for) for demand in (one, other)]
    assert first[0] != first[1]


def test_a_price_is_bounded():
    demand = after([{"a": 1.0, "b": 1.0}] * 2000)
    assert demand.price.value == 1e3
    assert after([{"a": 0.1, "b": 0.1}] * 400, demand).price.value == 0.0


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, True, "1"])
def test_a_word_that_cannot_be_is_refused(wrong):
    with pytest.raises(ProfileError, match="busy of session 'a'"):
        TierWord(busy={"a": wrong})
    with pytest.raises(ProfileError, match="waited_s of session 'a'"):
        TierWord(waited_s={"a": wrong})
