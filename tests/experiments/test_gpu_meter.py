"""The comparison of a GPU's counter with its power, on a made-up driver that draws steadily."""

import threading
import time

import pynvml
import pytest

from edgesplit.errors import EdgeSplitError
from experiments.gpu_meter import compare, intervals, under
from experiments.two_point import TwoPoint


class Driver:
    """One GPU of 100 W. The counter counts `gain` times as much, or is not supported."""

    NVMLError = pynvml.NVMLError

    def __init__(self, gain=1.0):
        self.gain = gain
        self.usage_mw = 100_000
        self.opened = 0

    def nvmlInit(self):
        self.opened += 1

    def nvmlShutdown(self):
        self.opened -= 1

    def nvmlDeviceGetCount(self):
        return 1

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        if not self.gain:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return round(100e3 * self.gain * time.perf_counter())

    def nvmlDeviceGetPowerUsage(self, gpu):
        return self.usage_mw

    def nvmlDeviceGetFieldValues(self, gpu, fields):
        values = (pynvml.c_nvmlFieldValue_t * len(fields))()
        values[0].value.uiVal = 100_000
        return values


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_what_counter_and_power_differ_by(gain):
    driver = Driver(gain)
    row = compare(0.5, driver)
    assert row["power_j"] == pytest.approx(100 * row["seconds"])
    # The counter is taken to be up to an update of 0.1 s late, which is much of half a second.
    assert row["watts"] == pytest.approx(100 * gain, rel=0.1)
    assert row["difference"] == pytest.approx(1 / gain - 1, abs=0.2)
    assert row["two_point_difference"] == pytest.approx(1 / gain - 1, abs=0.2)
    assert driver.opened == 0


def test_without_a_counter_there_is_nothing_to_compare():
    driver = Driver(gain=0.0)
    with pytest.raises(EdgeSplitError, match="no energy counter"):
        compare(0.5, driver)
    assert driver.opened == 0


def test_the_papers_two_points():
    """P0 = 50 W, P1 = 250 W, 20 ms: 3 J."""
    driver, now_s = Driver(), 100.0
    two = TwoPoint(driver, 0, lambda: now_s)
    driver.usage_mw = 50_000
    mark = two.mark()
    now_s += 0.02
    driver.usage_mw = 250_000
    assert two.joules_since(mark) == pytest.approx(3.0)


def test_intervals_are_between_changes():
    seen = [(0.0, 1.0), (0.1, 2.0), (0.2, 2.0), (0.3, 3.0), (0.5, 4.0)]
    found = intervals(seen, 1.0)
    assert (found["readings"], found["median_s"], found["largest_s"]) == pytest.approx(
        (5, 0.2, 0.2)
    )
    assert intervals(seen[1:3], 1.0)["largest_s"] == 1.0  # none: no oftener than it was watched


def test_work_goes_on_while_the_block_runs():
    by, thrice = [], threading.Event()

    def work():
        by.append(threading.current_thread())
        if len(by) == 3:
            thrice.set()

    with under(work):
        assert thrice.wait(10)
    assert not by[0].is_alive()
    assert set(by) == {by[0]}
