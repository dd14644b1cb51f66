"""CoEdge-style: shares against HiGHS's linear programs, and what they add up to."""

import numpy as np
import pytest
from scipy.optimize import linprog
from tile_cases import FAST, SLOW, plain_s, random_devices, random_stack, stack_of, vgg_stack

from edgesplit.core.policies.tiles.coedge import coedge, shares_of
from edgesplit.core.policies.tiles.in_step import InStep, least_joules, least_seconds
from edgesplit.core.policies.tiles.tile_cost import TileDevice
from edgesplit.errors import PlanError


def random_step(seed, count):
    generator = np.random.default_rng(seed)
    steps = int(generator.integers(1, 12))
    per_share = generator.uniform(0, 1, (steps, count)) * generator.uniform(0.2, 3, count)
    fixed = generator.uniform(0, 0.1, (steps, count)) * generator.integers(0, 2, (steps, count))
    return InStep(per_share, fixed, generator.uniform(0, 5, count), 0.3)


def by_highs(step, deadline_s):
    """Least seconds, or least joules within the deadline: one auxiliary per step, as published."""
    steps, count = step.per_share.shape
    rows, most = [], []
    for s in range(steps):
        for k in range(count):
            row = np.zeros(count + steps)
            row[k], row[count + s] = step.per_share[s, k], -1.0
            rows.append(row)
            most.append(-step.fixed[s, k])
    weights = np.array([*np.zeros(count), *np.ones(steps)])
    if deadline_s is not None:
        rows.append(weights)
        most.append(deadline_s)
        weights = np.array([*step.joules_per_share, *np.zeros(steps)])
    whole = np.array([[*np.ones(count), *np.zeros(steps)]])
    return linprog(weights, A_ub=np.array(rows), b_ub=most, A_eq=whole, b_eq=[1.0]).fun


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shares_are_optimal(seed, count):
    step = random_step(seed, count)
    shares = least_seconds(step)
    assert shares.sum() == pytest.approx(1.0)
    assert (shares >= 0).all()
    least_s = step.seconds(shares)
    assert least_s == pytest.approx(by_highs(step, None), rel=1e-6, abs=1e-9)
    for factor in (1.0 + 1e-6, 1.3, 3.0):
        frugal = least_joules(step, factor * least_s)
        assert frugal.sum() == pytest.approx(1.0)
        assert step.seconds(frugal) <= factor * least_s * (1 + 1e-6)
        expected = by_highs(step, factor * least_s) + step.fixed_j
        assert step.joules(frugal) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("deadline_s", [None, 0.0, 1e-3, 1e3])
def test_one_device_is_plain_execution(seed, deadline_s):
    stack, [device] = random_stack(seed), random_devices(seed, 1)
    cost = coedge(stack, [device], deadline_s)
    assert cost.seconds == pytest.approx(plain_s(stack, device))
    assert cost.joules == pytest.approx(plain_s(stack, device) * device.compute_w)


@pytest.mark.parametrize("seed", range(20))
def test_shares_sum_to_1_and_hold_their_halo(seed):
    stack, devices = random_stack(seed, layers=3), random_devices(seed, 3)
    found = shares_of(stack, devices, None)
    assert sum(found.shares) == pytest.approx(1.0)
    pairs = zip(stack.layers, stack.maps, strict=False)
    halo = max(max(w.padding, w.kernel - w.stride - w.padding) / m.height for w, m in pairs)
    taking_part = [share for share in found.shares if share > 0]
    assert len(taking_part) == 1 or min(taking_part) >= halo


def test_two_equal_devices_by_hand():
    """Half of the input goes there, one halo row both ways, half of the output comes back."""
    stack = stack_of((8, 8, 2), [(3, 3, 1, 1)])
    pair = [TileDevice("a", 1e4, 1e6), TileDevice("b", 1e4, 1e6)]
    shares = shares_of(stack, pair, None)
    assert shares.shares == pytest.approx((0.5, 0.5), abs=0.05)
    share = shares.shares[1]
    moved_s = share * 4 * 8 * 8 * (2 + 3) / 1e6
    layer_s = max(shares.shares) * stack.layers[0].macs / 1e4 + 4 * 8 * 2 / 1e6
    assert shares.seconds == pytest.approx(moved_s + layer_s, rel=1e-6)


def test_a_deadline_saves_joules():
    stack, devices = vgg_stack(), [SLOW, FAST, SLOW]
    quickest = coedge(stack, devices)
    late = coedge(stack, devices, 3 * quickest.seconds)
    assert late.joules < quickest.joules
    assert quickest.seconds < late.seconds <= 3 * quickest.seconds * (1 + 1e-6)
    assert coedge(stack, devices, 1e-9) == quickest


def test_a_link_too_slow_leaves_all_at_home():
    stack = random_stack(3)
    cost = coedge(stack, [SLOW, TileDevice("far", 1e12, 1.0)])
    assert cost.seconds == pytest.approx(plain_s(stack, SLOW))
    assert [run.device for run in cost.runs] == ["pi"]


def test_rows_cover_the_output():
    cost = coedge(vgg_stack(), [SLOW, FAST, SLOW])
    assert [row for run in cost.runs for row in range(*run.rows)] == list(range(7))


def test_too_many_devices():
    with pytest.raises(PlanError, match="expected 1 to 6 devices, given 7"):
        coedge(vgg_stack(), [SLOW] * 7)
