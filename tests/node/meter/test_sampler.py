"""The background sampler and the tier's meter on it, with a device that does not exist."""

import math
import threading

import pytest
from inside_node import read_now
from pretended import Pretended, info
from sysfs_trees import Clock

from edgesplit.core.power import Power
from edgesplit.errors import MeterError
from edgesplit.node.meter.sampled import TOO_COARSE, SampledMeter
from edgesplit.node.meter.sampler import JITTER, Sampler

PLAIN = Power(12.0, 12.0, 12.0, 2.0, provenance="file")
SURE = tuple(tuple(0.04 if i == j else 0.0 for j in range(5)) for i in range(5))
CALIBRATED = Power(8.0, 4.0, 4.0, 3.0, "calibrated", 2.0, "board rails", SURE)
NEVER_S = 3600.0  # the thread does not read during such a test


@pytest.fixture
def clock():
    return Clock()


def meter_of(clock, power=PLAIN, **about):
    sensor = Pretended(clock, info(**about))
    return sensor, SampledMeter([Sampler(sensor, NEVER_S, clock)], power, "pretended", clock=clock)


def test_the_thread_reads_by_itself_and_ends(clock):
    sensor = Pretended(clock)
    with Sampler(sensor, 1e-3, clock) as sampler:
        for _ in range(3):
            sensor.was_read.clear()
            assert sensor.was_read.wait(10)
        assert sensor.is_open
        assert sampler.overhead().readings >= 3
    assert not sensor.is_open
    assert not [t for t in threading.enumerate() if t.name == "edgesplit-meter"]


def test_periods_are_jittered(clock):
    class Chance:
        drawn = threading.Event()
        bounds = None

        def uniform(self, low, high):
            self.bounds = (low, high)
            self.drawn.set()
            return low

    chance = Chance()
    with Sampler(Pretended(clock), 1e-3, clock, chance):
        assert chance.drawn.wait(10)
    assert chance.bounds == (1 - JITTER, 1 + JITTER)


def test_a_source_that_cannot_be_read_does_not_open(clock):
    sensor = Pretended(clock, problem="no permission")
    with pytest.raises(MeterError, match=r"no permission; plug it in"):
        Sampler(sensor, NEVER_S, clock).open()
    assert not sensor.is_open


def test_a_source_that_stops_answering_is_an_error_and_never_0(clock):
    sensor = Pretended(clock, info(kind="power"))
    with Sampler(sensor, 1.0, clock) as sampler:
        sensor.problem = "unplugged"
        with pytest.raises(MeterError, match="unplugged"):
            sampler.read_now()
        assert len(sampler.timeline().readings) == 1, "one failure may be a hiccup"
        clock.now_s += 60
        with pytest.raises(MeterError, match=r"has not answered for 60\.0 s: unplugged"):
            sampler.timeline()
        assert sampler.overhead().failed >= 1
        sensor.problem = ""
        sampler.read_now()
        assert len(sampler.timeline().readings) >= 2


def test_nobody_who_asks_waits_for_a_slow_source(clock):
    class Slow(Pretended):
        begun, go_on = threading.Event(), threading.Event()

        def read(self):
            if self.reads:
                self.begun.set()
                assert self.go_on.wait(10)
            return super().read()

    sensor = Slow(clock, info(kind="power"))
    with Sampler(sensor, 1e-3, clock) as sampler:
        assert sensor.begun.wait(10)
        assert len(sampler.held(clock.now_s).readings) == 2  # while a reading is under way
        sensor.go_on.set()


def test_a_fine_counter_measures_single_requests(clock):
    _, meter = meter_of(clock)
    meter.open()
    started = meter.start()
    clock.now_s += 0.5
    joules, u_j = meter.stop(started)
    assert joules == pytest.approx(5.0, abs=0.05)
    assert 0 < u_j < 0.05
    assert (meter.metering.kind, meter.metering.scope) == ("measured", "cpu package")
    meter.close()


def test_a_failed_read_makes_the_requests_joules_unknown(clock):
    sensor, meter = meter_of(clock)
    meter.open()
    started = meter.start()
    clock.now_s += 0.5
    sensor.problem = "gone"
    joules, u_j = meter.stop(started)
    assert math.isnan(joules)
    assert u_j is None
    with pytest.raises(MeterError, match="gone"):
        meter.window(started, clock.now_s)
    meter.close()


def test_a_coarse_source_with_calibrated_watts_models_requests_and_measures_windows(clock):
    _, meter = meter_of(clock, CALIBRATED, kind="power", scope="board rails", update_s=0.1)
    meter.open()
    started = meter.start()
    clock.now_s += 0.02
    joules, u_j = meter.stop(started)
    assert joules == pytest.approx(8.0 * 0.02)
    assert u_j == pytest.approx(0.2 * 0.02)
    assert meter.metering.kind == "modelled"
    assert TOO_COARSE in meter.metering.flags
    for _ in range(50):
        clock.now_s += 0.1
        read_now(meter)
    assert meter.window(started, clock.now_s).joules == pytest.approx(10 * 5.02, rel=1e-3)
    meter.close()


def test_a_coarse_source_without_calibration_says_what_it_said_last(clock):
    _, meter = meter_of(clock, kind="power", scope="board rails", update_s=0.1)
    meter.open()
    started = meter.start()
    clock.now_s += 0.05
    joules, _ = meter.stop(started)
    assert joules == pytest.approx(0.5)
    assert meter.metering.kind == "measured"
    meter.close()


def test_overlapping_sources_are_refused_and_closed(clock):
    package = Pretended(clock, info("rapl"))
    psys = Pretended(clock, info("rapl-psys", scope="platform"))
    samplers = [Sampler(sensor, NEVER_S, clock) for sensor in (package, psys)]
    with pytest.raises(
        MeterError, match=r"rapl \(cpu package\) and rapl-psys \(platform\) overlap"
    ):
        SampledMeter(samplers, PLAIN, "rapl+rapl-psys", clock=clock).open()
    assert not package.is_open
    assert not psys.is_open


def test_sources_beside_each_other_add_up(clock):
    package, gpu = Pretended(clock, info("rapl")), Pretended(clock, info("nvml", scope="gpu"))
    samplers = [Sampler(sensor, NEVER_S, clock) for sensor in (package, gpu)]
    meter = SampledMeter(samplers, PLAIN, "rapl+nvml", clock=clock)
    meter.open()
    started = meter.start()
    clock.now_s += 1.0
    joules, _ = meter.stop(started)
    assert joules == pytest.approx(20.0, rel=0.01)
    assert meter.metering.scope == "cpu package + gpu"
    assert meter.window(started, clock.now_s).flags == ("adds different scopes: cpu package, gpu",)
    meter.close()


def test_a_window_begins_with_a_reading_of_a_counter(clock):
    """Idle before, busy inside: without it the start would lie somewhere in the idle time."""
    sensor, meter = meter_of(clock, update_s=0.1)
    meter.open()
    sensor.watts = 2.0
    clock.now_s += 5.0
    meter.mark()
    clock.now_s += 1.0
    started = meter.mark()
    sensor.watts = 50.0
    clock.now_s += 5.0
    assert meter.window(started, clock.now_s).joules == pytest.approx(250.0, rel=0.05)
    meter.close()


def test_a_fine_counter_tells_the_power_of_computing_and_of_the_rest(clock):
    sensor, meter = meter_of(clock)
    meter.open()
    begun = meter.mark()
    for _ in range(20):
        sensor.watts = 3.0
        clock.now_s += 0.1
        started = meter.start()
        sensor.watts = 12.0
        clock.now_s += 0.05
        meter.stop(started)
    phases = meter.phases(begun, clock.now_s)
    assert phases["compute"].watts == pytest.approx(12.0, rel=0.1)
    assert phases["rest"].watts == pytest.approx(3.0, rel=0.1)
    assert phases["compute"].u_w > 0
    meter.close()


def test_a_driver_that_raises_anything_is_a_meter_that_failed(clock):
    class Broken(Pretended):
        def read(self):
            if self.reads:
                self.was_read.set()
                raise RuntimeError("CUDA is gone")
            return super().read()

    sensor = Broken(clock, info(kind="power"))
    with Sampler(sensor, 1e-3, clock) as sampler:
        sensor.was_read.clear()
        assert sensor.was_read.wait(10)
        clock.now_s += 60
        sensor.was_read.clear()
        assert sensor.was_read.wait(10), "the thread goes on"
        with pytest.raises(MeterError, match=r"has not answered for 60\.0 s"):
            sampler.timeline()


def test_a_source_that_hangs_is_a_meter_that_failed(clock):
    sensor = Pretended(clock, info(kind="power"))
    with Sampler(sensor, NEVER_S, clock) as sampler:
        clock.now_s += 5 * NEVER_S
        with pytest.raises(MeterError, match="it hangs"):
            sampler.held(clock.now_s)
