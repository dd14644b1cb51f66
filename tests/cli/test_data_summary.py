"""What is said of a model over a data set, of made-up answers."""

import math

import pytest

from edgesplit.cli.data_summary import MeanEnergy
from edgesplit.core.energy.energy import Energy


def energy(joules, u_j=0.1, flags=()):
    return Energy(joules, u_j, "board input", "measured", "marginal", "meter", flags)


def test_uncertainties_are_not_averaged_out():
    mean = MeanEnergy()
    for joules in (1.0, 2.0, 3.0):
        mean.add(energy(joules))
    assert (mean.mean.joules, mean.mean.u_j) == (2.0, pytest.approx(0.1))
    assert (mean.mean.scope, mean.mean.kind) == ("board input", "measured")


def test_what_does_not_stand_out_counts_all_the_same():
    mean = MeanEnergy()
    mean.add(energy(0.05))
    mean.add(energy(1.05))
    assert mean.mean.joules == pytest.approx(0.55), "without it the mean would be too high"


def test_what_is_not_known_does_not_count():
    mean = MeanEnergy()
    assert mean.mean is None
    mean.add(energy(math.nan))
    assert mean.mean is None
    mean.add(energy(2.0, flags=("counter was reset",)))
    assert (mean.mean.joules, mean.mean.flags) == (2.0, ("counter was reset",))
