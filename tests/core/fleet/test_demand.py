"""The price of demand: up where too much is asked for, down to 0 where there is room."""

import math

import pytest

from edgesplit.core.fleet.demand import DemandPrice
from edgesplit.errors import ProfileError


def after(demands, price=None):
    price = price or DemandPrice()
    for demand in demands:
        price = price.after(demand)
    return price


def test_first_rounds_by_hand():
    up = DemandPrice().after(1.5)
    assert up.step == pytest.approx(0.44)
    assert up.value == pytest.approx(math.exp(0.44 * 0.5) - 1)
    down = up.after(0.5)
    assert down.step == pytest.approx(0.22)
    assert down.value == pytest.approx((1 + up.value) * math.exp(-0.22 * 0.5) - 1)


def test_ten_times_too_much_counts_as_twice():
    assert DemandPrice().after(10.0) == DemandPrice().after(2.0)


def test_a_tier_with_room_has_no_price_and_a_dear_one_comes_down_to_it():
    assert after([0.0] * 5).value == 0.0
    assert after([1.0] * 5).value == 0.0
    dear = after([2.0] * 8)
    assert dear.value > 5.0
    assert after([0.2] * 40, dear).value == 0.0


@pytest.mark.parametrize("wanted", [0.3, 2.0, 40.0])
def test_demand_that_falls_with_the_price_comes_to_fit(wanted):
    """Demand 1 at the price `wanted`; each price is met within 60 rounds, and held."""
    price = DemandPrice()
    for turn in range(120):
        price = price.after(2.0 / (1.0 + price.value / wanted))
        if turn >= 60:
            assert price.value == pytest.approx(wanted, rel=0.1)


def test_a_change_of_demand_is_followed_without_a_new_beginning():
    price = DemandPrice()
    for _ in range(200):
        price = price.after(2.0 / (1.0 + price.value / 3.0))
    for _ in range(30):
        price = price.after(2.6 / (1.0 + price.value / 3.0))
    assert price.value == pytest.approx(1.6 * 3.0, rel=0.05)


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, True, "1"])
def test_a_demand_that_cannot_be_is_refused(wrong):
    with pytest.raises(ProfileError):
        DemandPrice().after(wrong)
