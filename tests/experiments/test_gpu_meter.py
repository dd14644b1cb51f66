"""The comparison of a GPU's counter with its power, on a made-up driver that draws steadily."""

import time

import pynvml
import pytest

from edgesplit.errors import EdgeSplitError
from experiments.gpu_meter import compare, intervals, under


class Driver:
    """One GPU of 100 W. The counter counts `gain` times as much, or is not supported."""

    NVMLError = pynvml.NVMLError

    def __init__(self, gain=1.0):
        self.gain = gain
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
        return 100_000

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


def test_intervals_are_between_changes():
    seen = [(0.0, 1.0), (0.1, 2.0), (0.2, 2.0), (0.3, 3.0), (0.5, 4.0)]
    found = intervals(seen, 1.0)
    assert (found["readings"], found["median_s"], found["largest_s"]) == pytest.approx(
        (5, 0.2, 0.2)
    )
    assert intervals(seen[1:3], 1.0)["largest_s"] == 1.0  # none: no oftener than it was watched


def test_work_goes_on_while_the_block_runs():
    done = []
    with under(lambda: (done.append(1), time.sleep(0.001))):
        deadline = time.monotonic() + 10
        while len(done) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    count = len(done)
    time.sleep(0.05)
    assert len(done) == count
