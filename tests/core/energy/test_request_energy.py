"""Joules of a request per tier, by hand: phases, boundaries, idle taken off, what is flagged.

The tier computes at 10 W, sends at 4 W, receives at 3 W, waits at 2 W and idles at 1 W.
"""

import math

import numpy as np
import pytest

from edgesplit.core.cost import CostModel
from edgesplit.core.energy.metering import Metering
from edgesplit.core.energy.provenance import counted, predicted
from edgesplit.core.energy.request_energy import FAILED, WITH_IDLE, spent
from edgesplit.core.energy.window import Metered, tier_window
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import parse_plan
from edgesplit.core.power import PHASES, Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.core.record import Finished, record_of
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import ProfileError

# Standard uncertainties of 0.1 W in each phase, none correlated.
SURE = tuple(tuple(0.01 if i == j else 0.0 for j in range(5)) for i in range(5))
PLAIN = Power(10.0, 4.0, 3.0, 2.0, provenance="file")
CALIBRATED = Power(10.0, 4.0, 3.0, 2.0, "calibrated", 1.0, "cpu package", SURE)
RAPL = Metering("cpu package", "measured", "rapl", "rapl", (("boot", "cpu package"),))


def tier(power, metering=None, name="end"):
    return Tier(name, (1.0, 1.0), power, metering=metering)


def sample(energy_j, energy_u_j=None, compute_s=2.0, name="end"):
    return TierTiming(name, 0, 2, 0.0, compute_s, 3.0, 0.0, math.inf, 0, 0, energy_j, energy_u_j)


SECONDS = {"transmit": 0.5, "receive": 0.25}


def test_modelled_without_uncertainty():
    energy = spent(tier(PLAIN), sample(20.0), SECONDS, "marginal")
    assert energy.joules == pytest.approx(20 + 0.5 * 4 + 0.25 * 3)
    assert math.isnan(energy.u_j)
    assert (energy.kind, energy.scope, energy.provenance) == ("modelled", "device", "file")


def test_modelled_with_calibrated_watts_takes_idle_off_in_the_marginal_boundary():
    energy = spent(tier(CALIBRATED), sample(20.0), SECONDS, "marginal")
    assert energy.joules == pytest.approx(20 + 2 + 0.75 - 2.75)
    # 0.1 W in each phase for its seconds, and for the 2.75 s of idle that are taken off.
    assert energy.u_j == pytest.approx(0.1 * math.sqrt(4 + 0.25 + 0.0625 + 2.75**2))
    assert energy.kind == "modelled"


def test_gross_charges_waiting_and_keeps_idle():
    energy = spent(tier(CALIBRATED), sample(20.0), {**SECONDS, "wait": 1.0}, "gross")
    assert energy.joules == pytest.approx(20 + 2 + 0.75 + 2)
    assert energy.u_j == pytest.approx(0.1 * math.sqrt(4 + 0.25 + 0.0625 + 1))


def test_measured_and_calibrated():
    metered = tier(CALIBRATED, RAPL)
    energy = spent(metered, sample(19.0, 0.3), {"transmit": 0.0, "receive": 0.0}, "marginal")
    assert energy.joules == pytest.approx(19 - 2)
    assert energy.u_j == pytest.approx(math.hypot(0.3, 0.2))
    assert (energy.kind, energy.provenance) == ("measured", "rapl")
    assert energy.flags == ()
    both = spent(metered, sample(19.0, 0.3), SECONDS, "marginal")
    assert both.joules == pytest.approx(17 + 2 + 0.75 - 0.75)
    assert both.kind == "measured and modelled"


def test_measured_without_calibration_says_that_idle_is_in_it():
    metered = tier(PLAIN, RAPL)
    energy = spent(metered, sample(19.0, 0.3), {"transmit": 0.0, "receive": 0.0}, "marginal")
    assert energy.joules == 19.0
    assert energy.flags == (WITH_IDLE,)
    gross = spent(metered, sample(19.0, 0.3), {"transmit": 0.0, "receive": 0.0}, "gross")
    assert gross.flags == ()


def test_a_meter_that_failed_is_nan_and_never_0():
    energy = spent(tier(CALIBRATED, RAPL), sample(math.nan), SECONDS, "gross")
    assert math.isnan(energy.joules)
    assert "not known" in str(energy)
    assert FAILED in energy.flags


def test_a_tier_without_part_in_it_spent_nothing():
    energy = spent(tier(CALIBRATED), None, {"transmit": 0.0, "receive": 0.0}, "marginal")
    assert (energy.joules, energy.u_j) == (0.0, 0.0)
    assert str(energy) == "0 J"


def test_a_records_total_says_that_scopes_differ():
    links = (Link("end", "edge", 0.0, 1e6), Link("edge", "end", 0.0, 1e6))
    profile = Profile((tier(CALIBRATED, RAPL), tier(PLAIN, name="edge")), links)
    timings = (sample(20.0, 0.1), sample(5.0, None, 0.5, "edge"))
    done = Finished("r", 0.0, "m", parse_plan("end:0-1 | edge:1-2"), 3.0, timings)
    record = record_of(done, profile, Goal())
    assert record.end_energy_j == pytest.approx(18.0)
    assert record.total_energy_j == pytest.approx(23.0)
    assert record.total_energy.flags == ("adds different scopes: cpu package, device",)
    assert record.total_energy.kind == "measured and modelled"
    assert "The total adds different scopes: cpu package, device" in counted(profile, "marginal")


def test_predicted_energy_is_above_idle_and_has_the_same_uncertainty():
    links = (Link("end", "edge", 0.0, 100.0), Link("edge", "end", 0.0, 100.0))
    profile = Profile((tier(CALIBRATED), tier(CALIBRATED, name="edge")), links)
    graph = Graph("two", ("a", "b"), (100, 50, 25), (0, 0))
    cost = CostModel(graph, profile, Goal()).cost(parse_plan("end:0-1 | edge:1-2"))
    # end: 1 s computing, 0.5 s sending, 0.25 s receiving.
    assert cost.end_energy_j == pytest.approx(9 * 1 + 3 * 0.5 + 2 * 0.25)
    assert cost.end_energy_u_j == pytest.approx(
        0.1 * math.sqrt(1 + 0.25 + 0.0625 + (1 + 0.5 + 0.25) ** 2)
    )
    gross = CostModel(graph, profile, Goal(boundary="gross")).cost(parse_plan("end:0-2"))
    assert gross.end_energy_j == pytest.approx(20.0)
    assert gross.end_energy_u_j == pytest.approx(0.2)
    text = predicted(profile, "marginal")
    assert "end, edge calibrated (cpu package, ± is k=2)" in text
    assert "different scopes" not in text


def test_without_uncertainty_of_one_tier_none_is_claimed_of_the_total():
    links = (Link("end", "edge", 0.0, 100.0), Link("edge", "end", 0.0, 100.0))
    profile = Profile((tier(CALIBRATED), tier(PLAIN, name="edge")), links)
    graph = Graph("two", ("a", "b"), (100, 50, 25), (0, 0))
    costs = CostModel(graph, profile, Goal())
    split, alone = (costs.cost(parse_plan(p)) for p in ("end:0-1 | edge:1-2", "end:0-2"))
    assert split.end_energy_u_j > 0
    assert split.total_energy_u_j is None
    assert alone.total_energy_u_j > 0


def test_a_windows_marginal_joules():
    gross = spent(tier(CALIBRATED, RAPL), sample(100.0, 0.5, 10.0), {}, "gross")
    window = tier_window(Metered(10.0, gross, {}), CALIBRATED)
    assert window.gross is gross
    assert window.marginal.joules == pytest.approx(90.0)
    assert window.marginal.u_j == pytest.approx(math.hypot(0.5, 1.0))
    assert window.marginal.boundary == "marginal"
    assert tier_window(Metered(10.0, gross, {}), PLAIN).marginal is None


@pytest.mark.parametrize("phase", PHASES)
def test_power_refuses_what_is_none(phase):
    watts = dict.fromkeys(("compute_w", "transmit_w", "receive_w", "wait_w", "idle_w"), 1.0)
    with pytest.raises(ProfileError, match="finite watts >= 0"):
        Power(**{**watts, f"{phase}_w": -1.0})


def test_power_refuses_a_covariance_of_another_shape():
    with pytest.raises(ProfileError, match="5 x 5"):
        Power(1.0, 1.0, 1.0, 1.0, covariance=tuple(map(tuple, np.eye(4))))


def test_meters_share_what_overlaps_at_one_place():
    def meter(*covers):
        return Metering("", "measured", "", "m", covers)

    package, psys = ("boot", "cpu package"), ("boot", "platform")
    assert meter(package).shares(meter(psys))
    assert meter(package, ("boot", "gpu")).shares(meter(package))
    assert not meter(package).shares(meter(("other boot", "cpu package")))
    assert not meter(package).shares(meter(("boot", "gpu")))
    assert meter(("http://plug", "wall")).shares(meter(("http://plug", "wall")))
    assert not meter().shares(meter())


def test_a_failed_meters_json_holds_no_nan():
    energy = spent(tier(CALIBRATED, RAPL), sample(math.nan, 0.1), {"transmit": 0.0}, "gross")
    told = energy.as_dict()
    assert (told["joules"], told["below_j"]) == (None, None)
