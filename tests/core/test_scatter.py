"""How seconds scatter: ratios counted, quantiles, and sums against a simulation."""

import math

import numpy as np
import pytest

from edgesplit.core.scatter import Scatter, assumed_scatter, sum_of
from edgesplit.errors import ProfileError


def seen(ratios, scatter=None):
    scatter = scatter or assumed_scatter(0.1)
    for ratio in ratios:
        scatter = scatter.updated(ratio)
    return scatter


def test_what_is_assumed_lies_around_one():
    scatter = assumed_scatter(0.1)
    assert scatter.quantile(0.5) == pytest.approx(1.0)
    assert scatter.quantile(0.975) == pytest.approx(math.exp(1.96 * 0.1), rel=0.03)
    assert scatter.quantile(0.025) == pytest.approx(math.exp(-1.96 * 0.1), rel=0.03)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_quantiles_are_those_of_the_ratios_seen(level):
    ratios = np.random.default_rng(0).lognormal(0.2, 0.5, 3000)
    assert seen(ratios).quantile(level) == pytest.approx(
        np.quantile(ratios[-1000:], level), rel=0.12
    )


def test_old_ratios_are_forgotten():
    scatter = seen([4.0] * 1000 + [1.0] * 3000)
    assert scatter.quantile(0.99) == pytest.approx(1.0, rel=0.025)
    assert seen([1.0] * 1000 + [4.0] * 30).quantile(0.95) == pytest.approx(4.0, rel=0.03)


@pytest.mark.parametrize(("ratio", "held"), [(0.0, 0.255), (1e-9, 0.255), (1e9, 63.1)])
def test_a_ratio_beyond_the_histogram_is_held_at_its_end(ratio, held):
    assert seen([ratio] * 5000).quantile(0.5) == pytest.approx(held, rel=0.01)


def test_the_shortfall_is_the_mean_of_the_greatest_ratios():
    weights = [0.0] * len(assumed_scatter(0.1).weights)
    weights[28], weights[42] = 3.0, 1.0  # ratios 1 and 1.05 ** 14, three to one
    scatter, high = Scatter(tuple(weights)), 1.05**14
    assert scatter.shortfall(0.0) == pytest.approx((3 + high) / 4, rel=1e-3)
    assert scatter.shortfall(0.5) == pytest.approx((1 + high) / 2, rel=0.01)
    assert scatter.shortfall(0.9) == pytest.approx(high, rel=0.02)


@pytest.mark.parametrize(
    "weights", [(), (1.0,), (0.0,) * 114, (-1.0,) + (1.0,) * 113, (math.nan,) * 114, (1e308,) * 114]
)
def test_what_is_no_histogram_is_refused(weights):
    with pytest.raises(ProfileError, match="a scatter has 114 weights"):
        Scatter(weights)


def test_a_sum_is_that_of_independent_parts():
    generator = np.random.default_rng(1)
    outliers = np.where(generator.random(2000) < 0.03, generator.uniform(2, 6, 2000), 1.0)
    scatters = [
        seen(generator.lognormal(0, 0.1, 2000)),
        seen(generator.lognormal(0, 0.3, 2000) * outliers),
        seen(generator.lognormal(0, 0.2, 2000)),
    ]
    parts = [*zip((0.05, 0.2, 0.1), scatters, strict=True), (0.03, None), (0.0, scatters[0])]
    drawn = sum(
        s * generator.choice(scatter.points()[0], 200_000, p=scatter.points()[1])
        for s, scatter in parts[:3]
    )
    found = sum_of(parts)
    assert found.shares.sum() == pytest.approx(1.0)
    assert found.seconds @ found.shares == pytest.approx(drawn.mean() + 0.03, rel=0.01)
    for level in (0.1, 0.5, 0.9, 0.95, 0.99):
        expected_s = np.quantile(drawn, level) + 0.03
        assert found.quantile(level) == pytest.approx(expected_s, rel=0.025)
        assert found.share_within(found.quantile(level)) == pytest.approx(level, abs=0.03)


def test_a_sum_without_scatter_is_the_sum():
    found = sum_of([(0.25, None), (0.5, None)])
    assert found.seconds.tolist() == [0.75]
    assert found.quantile(0.99) == 0.75
