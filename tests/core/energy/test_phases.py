"""Watts of phases from blocks, joules from seconds; a sensor's line to an external meter."""

import math

import numpy as np
import pytest

from edgesplit.core.energy.fit import fit_line
from edgesplit.core.energy.phases import PHASES, Block, PhasePowers, fit_phases
from edgesplit.errors import MeterError

WATTS = {"compute": 7.0, "transmit": 4.5, "receive": 4.0, "wait": 3.2, "idle": 2.7}


def block(u_j=0.1, error_j=0.0, **seconds):
    """A block with the energy that WATTS give it, and an error."""
    return Block(seconds, sum(WATTS[n] * s for n, s in seconds.items()) + error_j, u_j)


ALONE = [block(**{name: 10.0}) for name in PHASES]


def test_exact_blocks_give_exact_watts():
    powers = fit_phases([*ALONE, block(compute=6.0, transmit=2.5, wait=4.0)])
    assert powers.names == PHASES
    assert powers.watts == pytest.approx(list(WATTS.values()))


def test_mixes_are_enough():
    mixes = [
        block(compute=8, wait=2), block(compute=2, wait=8), block(compute=3, wait=3, idle=4),
    ]  # fmt: skip
    powers = fit_phases(mixes, ("compute", "wait", "idle"))
    assert powers.watts == pytest.approx([7.0, 3.2, 2.7])


def test_covariance_is_that_of_the_blocks():
    powers = fit_phases(ALONE)
    assert np.diag(powers.covariance) == pytest.approx([0.01**2] * 5)
    joules, u_j = powers.energy({"compute": 3.0, "idle": 4.0})
    assert joules == pytest.approx(7 * 3 + 2.7 * 4)
    assert u_j == pytest.approx(0.05)


def test_covariance_between_phases_counts():
    powers = fit_phases([block(compute=5, wait=5), block(compute=6, wait=4)], ("compute", "wait"))
    measured = powers.energy({"compute": 5.0, "wait": 5.0})[1]
    assert measured == pytest.approx(0.1)  # the first block itself
    assert powers.energy({"compute": 10.0})[1] > 4 * measured


def test_surer_blocks_weigh_more():
    both = [block(compute=10), block(u_j=10.0, error_j=7.0, compute=10)]
    assert fit_phases(both, ("compute",)).watts[0] == pytest.approx(7.0, abs=0.001)


def test_scatter_beyond_the_uncertainty_widens_it():
    blocks = [block(error_j=e, compute=10.0) for e in (1.0, -1.0, 1.0, -1.0)]
    powers = fit_phases(blocks, ("compute",))
    # Four blocks that are 1 J off, on three degrees of freedom.
    assert powers.covariance[0][0] == pytest.approx(4 / 3 / 4 / 100)


def test_scatter_below_the_uncertainty_does_not_narrow_it():
    blocks = [block(error_j=e, compute=10.0) for e in (0.01, -0.01)]
    assert fit_phases(blocks, ("compute",)).covariance[0][0] == pytest.approx(0.01 / 2 / 100)


def test_a_phase_that_no_block_holds():
    with pytest.raises(MeterError, match=r"no block holds receive.*a block that is mostly receive"):
        fit_phases([b for b in ALONE if "receive" not in b.seconds])


@pytest.mark.parametrize(
    "mixes",
    [
        [block(compute=4, wait=6), block(compute=2, wait=3), block(idle=10)],
        [block(compute=4, wait=6), block(compute=4.001, wait=5.999), block(idle=10)],
        [block(compute=4, wait=6), block(idle=10)],
    ],
)
def test_mixes_that_are_alike(mixes):
    with pytest.raises(MeterError, match=r"do not tell compute, wait apart.*mostly compute"):
        fit_phases(mixes, ("compute", "wait", "idle"))


def test_no_blocks():
    with pytest.raises(MeterError, match="no block holds compute"):
        fit_phases([])


def test_short_blocks_are_as_good_as_long_ones():
    short = [Block({"compute": 0.001}, 0.007, 1e-6), Block({"idle": 1000.0}, 2700.0, 1.0)]
    assert fit_phases(short, ("compute", "idle")).watts == pytest.approx([7.0, 2.7])


def test_power_below_zero():
    names = ("compute", "idle")
    barely = [Block({"compute": 10.0}, 70.0, 0.1), Block({"idle": 10.0}, -0.15, 0.1)]
    powers = fit_phases(barely, names)
    assert powers.watts[1] == 0.0
    assert powers.covariance[1][1] == pytest.approx(0.01**2)
    with pytest.raises(MeterError, match=r"idle -0\.025 W ± 0\.02, clearly below 0"):
        fit_phases([barely[0], Block({"idle": 10.0}, -0.25, 0.1)], names)


def test_unknown_phases():
    with pytest.raises(MeterError, match="no power is known of sleep"):
        fit_phases([*ALONE, Block({"sleep": 1.0}, 1.0, 0.1)])
    with pytest.raises(MeterError, match="no power is known of wait, only of compute"):
        PhasePowers(("compute",), (7.0,), ((0.01,),)).energy({"compute": 1.0, "wait": 1.0})


@pytest.mark.parametrize(
    ("seconds", "joules", "u_j", "said"),
    [
        ({"compute": -1.0}, 1.0, 0.1, "seconds >= 0"),
        ({"compute": 0.0}, 1.0, 0.1, "seconds >= 0"),
        ({}, 1.0, 0.1, "seconds >= 0"),
        ({"compute": 1.0}, math.nan, 0.1, "finite joules"),
        ({"compute": 1.0}, 1.0, 0.0, "uncertainty above 0"),
        ({"compute": 1.0}, 1.0, math.nan, "uncertainty above 0"),
    ],
)
def test_block_errors(seconds, joules, u_j, said):
    with pytest.raises(MeterError, match=said):
        Block(seconds, joules, u_j)


def test_fit_line():
    line = fit_line([(watts, 1.15 * watts + 0.6) for watts in (2.0, 4.0, 8.0)])
    assert (line.gain, line.offset) == pytest.approx((1.15, 0.6))
    assert line.residual == pytest.approx(0.0, abs=1e-6)


def test_a_lines_residual_is_the_noise_around_it():
    rng = np.random.default_rng(0)
    for _ in range(300):
        sensor_w = np.linspace(2, 8, 40)
        external_w = 1.15 * sensor_w + 0.6 + 0.1 * rng.standard_normal(40)
        line = fit_line(list(zip(sensor_w, external_w, strict=True)))
        assert line.residual == pytest.approx(0.1, rel=0.5)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([(1.0, 2.0), (2.0, 3.0)], "2 pairs of readings, a line needs 3"),
        ([(5.0, 6.0), (5.1, 6.1), (5.2, 6.3)], "does not tell gain from offset"),
        ([(0.0, 1.0)] * 3, "does not tell gain from offset"),
    ],
)
def test_fit_line_errors(pairs, said):
    with pytest.raises(MeterError, match=said):
        fit_line(pairs)


def test_a_gain_that_all_blocks_share_is_not_averaged_away():
    """The meter is 5 % off, k=1, in every block alike."""
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        off = 1 + 0.05 * rng.standard_normal()
        blocks = []
        for name in PHASES * 3:
            true_j = 10 * WATTS[name]
            seen_j = true_j * off + 0.05 * rng.standard_normal()
            blocks.append(Block({name: 10.0}, seen_j, math.hypot(0.05, 0.05 * seen_j)))
        powers = fit_phases(blocks, gain=0.05)
        u_w = math.sqrt(powers.covariance[0][0])
        assert u_w == pytest.approx(0.05 * powers.watts[0], rel=0.1)
        inside += abs(powers.watts[0] - WATTS["compute"]) <= 2 * u_w
    assert inside >= 180
