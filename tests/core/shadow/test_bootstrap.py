"""Intervals of savings: exact where nothing scatters, wide enough where neighbours are alike."""

import numpy as np
import pytest

from edgesplit.core.shadow.bootstrap import Saving, blocks_of


def scattered(count, generator):
    """Positive values in a row."""
    return 1.0 + generator.normal(0.0, 0.1, count)


def test_what_saves_the_same_each_time_has_no_width():
    old = np.linspace(1.0, 2.0, 400)
    found = blocks_of(400, np.random.default_rng(0)).saving(old, 0.9 * old)
    assert found.share == pytest.approx(0.1)
    assert found.high - found.low == pytest.approx(0.0, abs=1e-9)
    assert not found.is_within_noise


def test_nothing_saved_is_within_noise():
    old = np.linspace(1.0, 2.0, 400)
    found = blocks_of(400, np.random.default_rng(0)).saving(old, old)
    assert found == Saving(0.0, 0.0, 0.0)
    assert found.is_within_noise


def test_few_requests_have_no_interval():
    old = np.ones(50)
    found = blocks_of(50, np.random.default_rng(0)).saving(old, 0.5 * old)
    assert found == Saving(0.5)
    assert found.is_within_noise


def test_equal_rows_get_equal_intervals_and_a_part_is_drawn_from_too():
    generator = np.random.default_rng(1)
    old, new = scattered(900, generator), scattered(900, generator)
    blocks = blocks_of(900, generator)
    assert blocks.saving(old, new) == blocks.saving(old.copy(), new.copy())
    part = blocks.saving(old[:700], new[:700])
    assert part.low < part.share < part.high


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_the_true_saving_is_inside_nearly_always(memory):
    inside = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        base, shift = np.zeros(900), generator.normal(0.0, 0.1, 900)
        for i in range(1, 900):
            base[i] = memory * base[i - 1] + shift[i]
        old = 10.0 + generator.normal(0.0, 0.1, 900)
        new = 9.0 + base
        found = blocks_of(900, generator).saving(old, new)
        inside += found.low <= 0.1 <= found.high
    assert inside >= 170
