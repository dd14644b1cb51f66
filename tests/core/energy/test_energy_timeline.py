"""Energy between two moments, from readings of exact numbers; what is refused and what it says."""

import math
from dataclasses import replace

import pytest

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.core.energy.timeline import Timeline
from edgesplit.errors import MeterError

COUNTER = SensorInfo("rapl", "cpu package", "counter", 1e-3, 0.0, 0.0, 0.0, (), "a test")
POWER = SensorInfo("pmic", "board rails", "power", 0.1, 0.0, 0.0, 0.0, (), "a test")


def counted(*steps, **change):
    """A timeline of (at_s, joules)."""
    readings = tuple(Reading(at_s, joules=joules) for at_s, joules in steps)
    return Timeline(replace(COUNTER, **change), readings)


def sampled(*steps, **change):
    """A timeline of (at_s, watts)."""
    readings = tuple(Reading(at_s, watts=watts) for at_s, watts in steps)
    return Timeline(replace(POWER, **change), readings)


def steady(watts, n=21, **change):
    """Constant power, every 0.1 s."""
    return sampled(*((0.1 * i, watts) for i in range(n)), **change)


@pytest.mark.parametrize(("start_s", "stop_s"), [(0.5, 0.51), (0.5, 0.57), (0.31, 1.7), (0, 2)])
def test_constant_power_gives_power_times_time(start_s, stop_s):
    grown = counted(*((0.1 * i, 100 + 0.5 * i) for i in range(21)), update_s=0.1)
    for timeline in (steady(5.0), steady(5.0, averaging_s=1.0), grown):
        found = timeline.energy(start_s, stop_s)
        assert found.joules == pytest.approx(5.0 * (stop_s - start_s))
        assert found.u_j >= 0
        assert timeline.mean_w(start_s, stop_s) == pytest.approx(5.0)


def test_one_sample_holds_for_one_update():
    found = sampled((1.0, 5.0)).energy(0.95, 1.05)
    assert found.joules == pytest.approx(0.5)
    assert found.u_j > 0.2
    assert found.flags
    with pytest.raises(MeterError, match="not covered"):
        sampled((1.0, 5.0)).energy(0.95, 1.15)


def test_one_long_steady_window_is_sure():
    assert steady(5.0).energy(0.2, 1.8).u_j == pytest.approx(0, abs=1e-9)


def test_power_changes_between_samples():
    timeline = sampled(*((0.1 * i, 2.0 if i <= 5 else 8.0) for i in range(11)))
    found = timeline.energy(0.1, 0.9)
    assert found.joules == pytest.approx(2 * 0.4 + 5 * 0.1 + 8 * 0.3)
    # A rectangle as wide as the jump, widened for seven samples.
    assert found.u_j == pytest.approx(6.0 * 0.1 / math.sqrt(12) * math.sqrt(6 / 4))


def test_counter_difference_is_corrected_for_lateness():
    # 10 W, then 30 W from 1 s to 2 s, then 10 W; every figure 0.1 s late, half of it expected.
    late = counted(
        (0.0, 100), (1.0, 110), (2.0, 138), (3.0, 150), (4.0, 160), update_s=0.1
    )  # fmt: skip
    found = late.energy(1.0, 2.0)
    assert found.joules == pytest.approx(28 - 10 * 0.05 + 28 * 0.05)
    expected = 0.1 * math.hypot(28, 28) / math.sqrt(12)
    assert found.u_j == pytest.approx(expected)


def test_a_counter_read_faster_than_it_moves():
    # Moves every 0.1 s; read every 10 ms, so it is known within 10 ms when.
    steps = [(0.01 * i, 0.5 * (i // 10)) for i in range(101)]
    found = counted(*steps, update_s=0.1).energy(0.25, 0.85)
    assert found.joules == pytest.approx(3.0)
    assert found.u_j < 0.1 * 5 / math.sqrt(12)


def test_counter_window_shorter_than_an_update_is_not_resolved():
    steps = [(0.1 * i, 0.5 * i) for i in range(21)]
    found = counted(*steps, update_s=0.1).energy(1.01, 1.03)
    assert found.joules == pytest.approx(0.1)
    assert not found.is_resolved


def test_a_counter_that_stands_still_drew_nothing_meanwhile():
    steps = [(0.1 * i, 100.0 if i <= 20 else 110.0 + i) for i in range(41)]
    timeline = counted(*steps, update_s=0.01, resolution=0.001)
    rest = timeline.energy(0.5, 1.5)
    assert rest.joules == pytest.approx(0, abs=1e-9)
    assert not rest.is_resolved
    assert 0 < rest.bound_j < 0.01
    assert timeline.energy(2.0, 2.1).joules > 30


@pytest.mark.parametrize("update_s", [0.0, 0.001])
def test_a_counter_without_an_update_period(update_s):
    found = counted((0.0, 0.0), (1.0, 5.0), (2.0, 10.0), update_s=update_s).energy(0.5, 1.5)
    assert found.joules == pytest.approx(5.0)


@pytest.mark.parametrize("seen_j", [(5.0,), (5.0, 5.0), (5.0,) * 20])
def test_a_counter_that_never_moved_is_no_zero(seen_j):
    timeline = counted(*((0.1 * i, joules) for i, joules in enumerate(seen_j)), update_s=0.1)
    with pytest.raises(MeterError, match=r"did not move.*read it for longer"):
        timeline.energy(0.0, 0.1 * (len(seen_j) - 1) + 0.01)


def test_accuracy_is_a_gain_that_does_not_average_out():
    assert steady(5.0, rel_accuracy=0.03).energy(0.2, 1.8).u_j == pytest.approx(0.03 * 8.0)
    unknown = steady(5.0, rel_accuracy=math.nan).energy(0.2, 1.8)
    assert unknown.u_j == pytest.approx(0, abs=1e-9)
    assert any("accuracy is not known" in flag for flag in unknown.flags)


def test_resolution_of_power_does_not_average_out():
    assert steady(5.0, resolution=0.5).energy(0.2, 1.8).u_j == pytest.approx(1.6 * 0.5 / 12**0.5)


def test_averaging_counts_at_both_edges():
    steps = [(0.1 * i, 2.0 if i <= 20 else 8.0) for i in range(61)]
    sharp, averaged = sampled(*steps), sampled(*steps, averaging_s=1.0)
    assert averaged.energy(2.0, 4.0).u_j > sharp.energy(2.0, 4.0).u_j + 6.0 / math.sqrt(12) / 2
    assert averaged.energy(4.0, 5.0).u_j == pytest.approx(sharp.energy(4.0, 5.0).u_j, abs=1e-9)


def test_an_averaged_sample_counts_at_the_middle_of_its_window():
    # 2 W until 2 s, then 8 W, averaged over the second before.
    steps = [(0.1 * i, 2 + 6 * min(max(0.1 * i - 2, 0), 1)) for i in range(61)]
    assert sampled(*steps, averaging_s=1.0).energy(0.5, 3.5).joules == pytest.approx(15.0)


def test_a_long_gap_hides_what_happened():
    steps = [(0.1 * i, 2.0 if i < 10 else 8.0) for i in range(61)]
    holed = [step for step in steps if not 3.05 < step[0] < 5.05]
    whole, gap = (sampled(*chosen).energy(2.0, 6.0) for chosen in (steps, holed))
    assert whole.joules == pytest.approx(gap.joules)
    assert gap.u_j == pytest.approx(2.1 * 6.0 / math.sqrt(12))
    assert whole.u_j < gap.u_j / 10


def test_few_samples_may_have_missed_any_power_that_was_seen():
    steps = [(0.1 * i, 2.0 if i < 10 else 8.0) for i in range(61)]
    assert sampled(*steps).energy(2.05, 2.35).u_j > 0.3 * 6.0 / math.sqrt(12)


def test_flags_say_what_is_not_seen():
    assert steady(5.0).energy(0.2, 1.8).flags == ()
    (few,) = steady(5.0).energy(0.21, 0.25).flags
    assert few.startswith("0 readings inside 0.04 s")
    (short,) = steady(5.0, averaging_s=1.0).energy(0.5, 1.0).flags
    assert "shorter than the meter's average over 1 s" in short


def test_what_a_figure_is():
    found = steady(5.0).energy(0.2, 1.8)
    assert (found.kind, found.scope, found.boundary, found.provenance) == (
        "measured", "board rails", "gross", "pmic",
    )  # fmt: skip
    model = steady(12.0, kind="model", rel_accuracy=math.nan).energy(0.21, 0.25)
    assert model.kind == "modelled"
    assert math.isnan(model.u_j)


def test_time_running_backwards_names_both():
    with pytest.raises(MeterError, match=r"at 1\.0 s comes after one at 2\.0 s"):
        sampled((0.0, 1.0), (2.0, 1.0), (1.0, 1.0))


def test_readings_are_of_the_sources_kind():
    with pytest.raises(MeterError, match=r"is a power, but its reading at 0\.0 s holds joules"):
        Timeline(POWER, (Reading(0.0, joules=1.0),))
    with pytest.raises(MeterError, match=r"is a counter, but its reading at 0\.0 s holds watts"):
        Timeline(COUNTER, (Reading(0.0, watts=1.0),))


@pytest.mark.parametrize(("start_s", "stop_s"), [(-0.2, 1.0), (1.0, 2.2), (5.0, 6.0)])
def test_what_is_not_covered_is_refused(start_s, stop_s):
    with pytest.raises(MeterError, match="not covered by readings; they are from 0 s to 2 s"):
        steady(5.0).energy(start_s, stop_s)


def test_no_readings_at_all():
    with pytest.raises(MeterError, match="there are none"):
        Timeline(POWER, ()).energy(0.0, 1.0)


@pytest.mark.parametrize(("start_s", "stop_s"), [(1.0, 1.0), (1.0, 0.5), (math.nan, 1.0)])
def test_a_window_runs_forward(start_s, stop_s):
    with pytest.raises(MeterError, match="runs forward"):
        steady(5.0).energy(start_s, stop_s)


def test_across_a_break():
    steps = [Reading(0.1 * i, joules=i * 0.5, is_break=i == 10) for i in range(21)]
    timeline = Timeline(COUNTER, tuple(steps))
    with pytest.raises(MeterError, match="holds a break before 1 s"):
        timeline.energy(0.5, 1.5)
    with pytest.raises(MeterError, match="holds a break before 1 s"):
        timeline.energy(0.93, 0.97)
    assert timeline.energy(0.2, 0.8).joules == pytest.approx(3.0)
    assert timeline.energy(1.2, 1.8).joules == pytest.approx(3.0)


def test_phase_power_pools_samples_of_all_repetitions():
    steps = [(0.1 * i, (7.0, 3.0)[i // 5 % 2] + 0.1 * (i % 2)) for i in range(100)]
    spans = {
        "compute": [(i - 0.05, i + 0.45) for i in range(10)],
        "wait": [(i + 0.45, i + 0.95) for i in range(10)],
    }
    found = sampled(*steps).phase_power(spans)
    assert found["compute"].watts == pytest.approx(7.05, abs=0.02)
    assert found["wait"].watts == pytest.approx(3.05, abs=0.02)
    assert found["compute"].n == 50
    assert 0 < found["compute"].u_w < 0.05


def test_a_scatter_of_few_samples_is_widened():
    steps = [(0.1 * i, 5.0 + (-1) ** i) for i in range(4)]
    found = sampled(*steps).phase_power({"all": [(0.0, 0.35)]})["all"]
    assert found.u_w == pytest.approx(math.sqrt(4 / 3) * math.sqrt(3 / 4))


def test_correlated_samples_count_less():
    calm = [(0.1 * i, 5.0 + (-1) ** i) for i in range(100)]
    slow = [(0.1 * i, 5.0 + (-1) ** (i // 25)) for i in range(100)]
    u_w = [sampled(*s).phase_power({"all": [(0.0, 9.95)]})["all"].u_w for s in (calm, slow)]
    assert u_w[1] > 2.5 * u_w[0]


@pytest.mark.parametrize(
    ("averaging_s", "phase_s", "is_refused"),
    [(0.0066, 0.025, True), (0.0066, 0.04, False), (1.0, 2.0, True), (0.0, 0.001, False)],
)
def test_a_slow_sensor_is_refused(averaging_s, phase_s, is_refused):
    steps = [(0.001 * i, 5.0) for i in range(20000)]
    spans = {"transmit": [(i * 2.5, i * 2.5 + phase_s) for i in range(7)]}
    found = sampled(*steps, averaging_s=averaging_s).phase_power(spans)["transmit"]
    assert math.isnan(found.watts) is is_refused
    if is_refused:
        assert f"averages over {averaging_s:g} s" in found.flag
        assert f"{phase_s:g} s" in found.flag


def test_samples_of_a_neighbour_are_left_out():
    # Averaged over 0.1 s: the first sample of each phase still holds the phase before.
    steps = [(0.05 * i, 9.0 if i % 20 <= 1 else 5.0) for i in range(1, 201)]
    spans = {"compute": [(float(i), i + 1.0) for i in range(1, 9)]}
    assert sampled(*steps, averaging_s=0.1).phase_power(spans)["compute"].watts == 5.0


def test_phase_power_of_a_counter():
    # 7 W in [0, 0.5), 3 W in [0.5, 1) of each second.
    steps = [(0.1 * i, 5 * (i // 10) + 0.7 * min(i % 10, 5) + 0.3 * max(i % 10 - 5, 0))
             for i in range(101)]  # fmt: skip
    spans = {"compute": [(i - 0.001, i + 0.501) for i in range(10)], "wait": []}
    found = counted(*steps).phase_power(spans)
    assert found["compute"].watts == pytest.approx(7.0)
    assert found["compute"].n == 10
    assert found["wait"].flag == "the phase never ran"
    slow = counted(*steps, update_s=0.2).phase_power(spans)["compute"]
    assert "moves every 0.2 s" in slow.flag


def test_a_counters_break_is_not_power():
    steps = [Reading(0.1 * i, joules=0.5 * i + 50 * (i > 52), is_break=i == 53) for i in range(101)]
    spans = {"all": [(float(i), i + 0.9) for i in range(10)]}
    found = Timeline(COUNTER, tuple(steps)).phase_power(spans)["all"]
    assert (found.watts, found.n) == (pytest.approx(5.0), 9)


def test_too_few_samples_are_refused():
    found = steady(5.0).phase_power({"compute": [(0.05, 0.35)]})["compute"]
    assert math.isnan(found.watts)
    assert found.flag.startswith("3 readings, at least 4")
