"""Losses of accuracy and their intervals: exact figures, and how often the interval holds."""

import math

import numpy as np
import pytest

from edgesplit.core.accuracy import (
    UNKNOWN_LOSS,
    Loss,
    examples_needed,
    mean_loss,
    paired_loss,
    share_of,
)
from edgesplit.errors import InputError


def test_paired_outcomes_by_hand():
    loss = paired_loss(worse=3, better=1, count=1000)
    assert loss.share == 0.002
    # Half an example added to each of four outcomes: b = 3.5, c = 1.5, n = 1002.
    middle, deviation = 2 / 1002, math.sqrt(5 - 4 / 1002) / 1002
    assert (loss.lower, loss.upper) == pytest.approx(
        (middle - 1.96 * deviation, middle + 1.96 * deviation)
    )


def test_a_share_by_hand():
    loss = share_of(different=10, count=100)
    assert loss.share == 0.1
    assert (loss.lower, loss.upper) == pytest.approx((0.05523, 0.17437), abs=1e-5)  # Wilson


def test_nothing_is_known_without_examples():
    assert paired_loss(0, 0, 0) == share_of(0, 0) == mean_loss([]) == UNKNOWN_LOSS
    assert UNKNOWN_LOSS.upper == math.inf
    assert mean_loss([0.1]).upper == math.inf


@pytest.mark.parametrize(
    ("loss", "most"),
    [
        (Loss(0.1, 0.05, 0.15, 9), 0.15),
        (Loss(-0.2, -0.3, -0.1, 9), 0.0),
        (Loss(3.0, 2.0, 4.0, 9), 1.0),
        (UNKNOWN_LOSS, 1.0),
        (mean_loss([0.1]), 1.0),
        (mean_loss([0.1, math.nan]), 1.0),
        (mean_loss([0.1, math.inf]), 1.0),
    ],
)
def test_what_is_not_known_is_held_for_all_that_can_be_lost(loss, most):
    assert loss.most == most


def test_a_mean_of_equal_losses_is_sure():
    loss = mean_loss([0.25] * 10)
    assert (loss.share, loss.lower, loss.upper, loss.count) == (0.25, 0.25, 0.25, 10)


@pytest.mark.parametrize("are_labelled", [True, False])
@pytest.mark.parametrize("most", [0.001, 0.005, 0.01, 0.1, 0.5])
def test_as_many_examples_as_needed_show_it_and_one_less_does_not(most, are_labelled):
    needed = examples_needed(most, are_labelled)

    def upper(count):
        return (paired_loss(0, 0, count) if are_labelled else share_of(0, count)).upper

    assert upper(needed) <= most
    assert needed == 1 or upper(needed - 1) > most


@pytest.mark.parametrize("counts", [(-1, 0, 5), (0, -1, 5), (3, 3, 5)])
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(InputError, match="outcomes of 5 examples"):
        paired_loss(*counts)


@pytest.mark.parametrize(("lost", "won"), [(0.004, 0.001), (0.02, 0.02), (0.1, 0.0)])
def test_the_interval_of_pairs_holds_the_truth_in_95_percent(lost, won):
    random, count, runs = np.random.default_rng(1), 900, 2000
    drawn = random.multinomial(count, [lost, won, 1 - lost - won], size=runs)
    losses = [paired_loss(int(worse), int(better), count) for worse, better, _ in drawn]
    share = np.mean([loss.lower <= lost - won <= loss.upper for loss in losses])
    assert share >= 0.94


@pytest.mark.parametrize("different", [0.002, 0.05, 0.5])
def test_the_interval_of_a_share_holds_the_truth_in_93_percent(different):
    random, count = np.random.default_rng(2), 900
    drawn = [share_of(int(n), count) for n in random.binomial(count, different, size=2000)]
    assert np.mean([loss.lower <= different <= loss.upper for loss in drawn]) >= 0.93
