"""The estimator: exact steps, and the figures it promises in seeded simulation."""

import math

import numpy as np
import pytest

from edgesplit.core.control.estimate import Estimate, estimate
from edgesplit.errors import ProfileError


def observed(generator: np.random.Generator, value: float) -> float:
    """10 % lognormal noise, 3 % outliers of 2-5x."""
    seen = value * math.exp(generator.normal(0, 0.1))
    return seen * generator.uniform(2, 5) if generator.random() < 0.03 else seen


def settled(generator: np.random.Generator, count: int = 200) -> Estimate:
    believed = estimate(1.0)
    for _ in range(count):
        believed = believed.updated(observed(generator, 1.0))
    return believed


def samples_to_follow(factor: float, seed: int) -> int:
    generator = np.random.default_rng(seed)
    believed = settled(generator)
    for count in range(1, 60):
        believed = believed.updated(observed(generator, factor))
        if abs(believed.value / factor - 1) < 0.2:
            return count
    return 60


@pytest.mark.parametrize("factor", [1.5, 2.0, 4.0, 1 / 1.5, 1 / 2, 1 / 4])
def test_follows_a_change_in_four_samples(factor):
    counts = [samples_to_follow(factor, seed) for seed in range(200)]
    assert np.median(counts) == 4
    assert np.percentile(counts, 95) <= 6


def test_steady_noise_raises_few_alarms_and_leaves_small_errors():
    alarms, levels, probes_for_doubts = 0, [], 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        believed = settled(generator, 50)
        for _ in range(1000):
            believed = believed.updated(observed(generator, 1.0))
            alarms += believed.changed
            probes_for_doubts += believed.suspicious
            levels.append(believed.level)
    assert alarms / 20 <= 1
    assert np.std(levels) < 0.03
    assert abs(np.mean(levels)) < 0.015
    assert probes_for_doubts < 0.25 * len(levels)


def test_is_symmetric_in_logarithms():
    up, down = estimate(10.0), estimate(10.0)
    for factor in (1.1, 3.0, 0.9, 2.0, 2.0, 2.0, 2.0):
        up, down = up.updated(10.0 * factor), down.updated(10.0 / factor)
        assert up.level - math.log(10) == pytest.approx(math.log(10) - down.level)


def test_alarm_resets_to_the_median_of_the_last_four():
    believed = estimate(1.0)
    flags = []
    for value in (4.0, 5.0, 4.0, 3.0):
        believed = believed.updated(value)
        flags.append((believed.changed, believed.suspicious))
    assert flags == [(False, True)] * 3 + [(True, False)]
    assert believed.value == pytest.approx(4.0)
    assert believed.count == 4
    assert not believed.updated(4.0).changed


def test_one_outlier_moves_the_value_by_less_than_six_percent_and_is_only_suspicious():
    believed = estimate(1.0).updated(100.0)
    assert 1.0 < believed.value < 1.06
    assert believed.suspicious
    assert believed.last == pytest.approx(100.0)
    assert not believed.updated(1.0).updated(1.0).suspicious


def test_spread_adapts_to_a_noisier_quantity_so_that_it_does_not_alarm_for_ever():
    generator = np.random.default_rng(0)
    believed, alarms = estimate(1.0), 0
    for _ in range(2000):
        believed = believed.updated(math.exp(generator.normal(0, 0.3)))
        alarms += believed.changed
    assert believed.sigma == pytest.approx(0.3, rel=0.4)
    assert alarms <= 10


def test_starts_at_the_known_value_and_updates_return_a_new_value():
    first = estimate(625e3)
    first.updated(1e6)
    assert first.value == pytest.approx(625e3)
    assert (first.count, first.changed, first.suspicious) == (0, False, False)
    assert first.last == pytest.approx(625e3)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_refuses_what_has_no_logarithm(value):
    with pytest.raises(ProfileError, match="above 0"):
        estimate(value)
    with pytest.raises(ProfileError, match="above 0"):
        estimate(1.0).updated(value)
