"""The NVML source against a made-up driver that speaks with pynvml's own errors and structures."""

import sys
from types import SimpleNamespace

import pynvml
import pytest

from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor.nvml import (
    NvmlSensor,
    discover,
    synchronise_cuda,
)

NOT_SUPPORTED, LOST, UNKNOWN = 3, 15, 999


class Driver:
    """NVML of one host. gpus: per GPU what it can tell, by name; a number that is an error raises.

    energy in mJ, instant and usage in mW; a missing one is not supported.
    """

    NVMLError = pynvml.NVMLError

    def __init__(self, *gpus, init_error=0):
        self.gpus = [dict(gpu) for gpu in gpus]
        self.init_error = init_error
        self.errors = {}
        self.opened = 0
        self.asked = []

    def nvmlInit(self):
        if self.init_error:
            raise pynvml.NVMLError(self.init_error)
        self.opened += 1

    def nvmlShutdown(self):
        assert self.opened, "shut down without being opened"
        self.opened -= 1

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def told(self, gpu, what):
        assert self.opened
        self.asked.append((gpu, what))
        if gpu in self.errors:
            raise pynvml.NVMLError(self.errors[gpu])
        if what not in self.gpus[gpu]:
            raise pynvml.NVMLError(NOT_SUPPORTED)
        return self.gpus[gpu][what]

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        return self.told(gpu, "energy")

    def nvmlDeviceGetPowerUsage(self, gpu):
        return self.told(gpu, "usage")

    def nvmlDeviceGetFieldValues(self, gpu, fields):
        """Succeeds as a call; each value has its own return code, as in NVML."""
        values = (pynvml.c_nvmlFieldValue_t * len(fields))()
        for value, field in zip(values, fields, strict=True):
            assert field == pynvml.NVML_FI_DEV_POWER_INSTANT
            try:
                value.value.uiVal = self.told(gpu, "instant")
            except pynvml.NVMLError as error:
                value.nvmlReturn = error.value
        return values


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def opened(driver, kind=NvmlSensor, **options):
    clock = Clock()
    sensor = kind(api=driver, synchronise=lambda: None, clock=clock, **options)
    sensor.open()
    return sensor, clock


def test_joules_are_those_since_opening_in_millijoules():
    driver = Driver({"energy": 7_000_000, "instant": 1, "usage": 1})
    sensor, clock = opened(driver)
    driver.gpus[0]["energy"] += 12_345
    clock.now_s = 101.0
    reading = sensor.read()
    assert reading.joules == pytest.approx(12.345)
    assert reading.watts is None
    assert reading.at_s == 101.0
    assert not reading.is_break
    info = sensor.info
    assert (info.id, info.scope, info.kind) == ("nvml", "gpu", "counter")
    assert (info.update_s, info.averaging_s, info.resolution) == (0.1, 0.0, 1e-3)


def test_gpus_are_summed_and_told_apart():
    driver = Driver({"energy": 1000}, {"energy": 5000})
    sensor, clock = opened(driver)
    driver.gpus[0]["energy"] += 2000
    driver.gpus[1]["energy"] += 3000
    clock.now_s = 101.0
    reading = sensor.read()
    assert reading.joules == pytest.approx(5.0)
    assert dict(reading.parts) == pytest.approx({"gpu-0": 2.0, "gpu-1": 3.0})


def test_only_the_gpus_asked_for():
    driver = Driver({"energy": 0}, {"energy": 0}, {"energy": 0})
    sensor, _ = opened(driver, indices=(2,))
    assert list(sensor.read().parts) == ["gpu-2"]
    assert {gpu for gpu, _ in driver.asked} == {2}


def test_a_counter_that_runs_backwards_is_a_break_and_counts_on():
    driver = Driver({"energy": 9_000_000}, {"energy": 0})
    sensor, clock = opened(driver)
    driver.gpus[0]["energy"] += 4000
    clock.now_s = 101.0
    assert sensor.read().joules == pytest.approx(4.0)
    driver.gpus[0]["energy"] = 10  # the driver was loaded anew
    clock.now_s = 102.0
    broken = sensor.read()
    assert broken.is_break
    assert broken.joules == pytest.approx(4.0)
    driver.gpus[0]["energy"] = 1010
    clock.now_s = 103.0
    after = sensor.read()
    assert after.joules == pytest.approx(5.0)
    assert not after.is_break


def test_without_a_counter_the_power_of_the_moment():
    driver = Driver({"instant": 71_500, "usage": 60_000})
    sensor, _ = opened(driver)
    driver.asked.clear()
    reading = sensor.read()
    assert reading.watts == pytest.approx(71.5)
    assert reading.joules is None
    assert (sensor.info.kind, sensor.info.averaging_s) == ("power", 0.0)
    assert driver.asked == [(0, "instant")]  # the mean of a second is not even asked for


def test_the_mean_of_a_second_is_named_as_such():
    sensor, _ = opened(Driver({"usage": 60_000}))
    assert sensor.read().watts == pytest.approx(60.0)
    assert (sensor.info.kind, sensor.info.averaging_s) == ("power", 1.0)
    assert "nvmlDeviceGetPowerUsage" in sensor.info.provenance


def test_an_older_driver_that_does_not_know_the_field():
    driver = Driver({"usage": 60_000})
    driver.nvmlDeviceGetFieldValues = lambda gpu, fields: raising(pynvml.NVMLError(2))
    sensor, _ = opened(driver)
    assert sensor.read().watts == pytest.approx(60.0)


def raising(error):
    raise error


def test_gpus_of_different_kinds_all_give_power():
    driver = Driver({"energy": 0, "instant": 30_000, "usage": 1}, {"usage": 12_000})
    sensor, _ = opened(driver)
    driver.asked.clear()
    reading = sensor.read()
    assert reading.watts == pytest.approx(42.0)
    assert driver.asked == [(0, "instant"), (1, "usage")]
    assert (sensor.info.kind, sensor.info.averaging_s) == ("power", 1.0)  # the slowest of them


def test_a_gpu_without_any_sensor():
    driver = Driver({})
    with pytest.raises(MeterError, match=r"gpu-0.*Not Supported"):
        opened(driver)
    assert driver.opened == 0


def test_the_gpu_is_waited_for_before_it_is_read():
    driver = Driver({"energy": 0})
    sensor = NvmlSensor(api=driver, synchronise=lambda: driver.asked.append("wait"), clock=Clock())
    sensor.open()
    driver.asked.clear()
    sensor.read()
    assert driver.asked == ["wait", (0, "energy")]


def test_waiting_neither_imports_torch_nor_starts_cuda(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    synchronise_cuda()
    assert "torch" not in sys.modules
    waits = []
    is_initialized = [False]
    cuda = SimpleNamespace(
        is_initialized=lambda: is_initialized[0], synchronize=lambda: waits.append(1)
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    synchronise_cuda()
    assert waits == []
    is_initialized[0] = True
    synchronise_cuda()
    assert waits == [1]


@pytest.mark.parametrize(
    ("code", "reason", "fix"),
    [
        (12, "Library Not Found", "ubuntu-drivers install"),
        (9, "Driver Not Loaded", "sudo modprobe nvidia"),
        (4, "No Permission", "usermod -aG"),
        (15, "GPU Is Lost", "sudo reboot"),
        (18, "Mismatch", "sudo reboot"),
        (999, "Unknown", "dmesg"),
        (17, "operating system has blocked", ""),  # not in the table: NVML's own words
    ],
)
def test_nvml_errors_say_what_mends_them(code, reason, fix):
    driver = Driver({"energy": 0}, init_error=code)
    with pytest.raises(MeterError) as caught:
        opened(driver)
    assert reason in caught.value.reason
    assert fix in caught.value.fix
    [found] = discover(driver)
    assert found.sensor is None
    assert (found.id, found.reason, found.fix) == ("nvml", caught.value.reason, caught.value.fix)


def test_a_gpu_lost_while_reading_is_an_error_that_names_it():
    gpu = {"energy": 0, "usage": 5000}
    driver = Driver(gpu, gpu)
    sensor, _ = opened(driver)
    driver.errors[1] = LOST
    with pytest.raises(MeterError, match=r"gpu-1.*GPU Is Lost"):
        sensor.read()


def test_a_failed_read_changes_nothing():
    driver = Driver({"energy": 0}, {"energy": 0})
    sensor, clock = opened(driver)
    driver.gpus[0]["energy"], driver.errors[1] = 1000, UNKNOWN
    clock.now_s = 101.0
    with pytest.raises(MeterError, match="gpu-1"):
        sensor.read()
    driver.errors.clear()
    clock.now_s = 102.0
    assert dict(sensor.read().parts) == pytest.approx({"gpu-0": 1.0, "gpu-1": 0.0})


def test_a_sensor_that_fails_is_not_taken_for_one_that_is_lacking():
    driver = Driver({"energy": 0, "usage": 5000})
    driver.errors[0] = UNKNOWN
    with pytest.raises(MeterError, match="Unknown"):
        opened(driver)
    assert driver.asked == [(0, "energy")]
    assert driver.opened == 0


def test_closing_shuts_nvml_down_once_and_only_if_opened():
    driver = Driver({"energy": 0})
    NvmlSensor(api=driver).close()
    sensor, _ = opened(driver)
    assert driver.opened == 1
    sensor.close()
    sensor.close()
    assert driver.opened == 0
    with pytest.raises(MeterError, match="call open"):
        sensor.read()


def test_opening_twice_leaves_it_open_once():
    driver = Driver({"energy": 0})
    sensor, _ = opened(driver)
    sensor.open()
    assert driver.opened == 1


@pytest.mark.parametrize("indices", [(1,), (-1,), ()])
def test_gpus_that_are_not_there(indices):
    with pytest.raises(MeterError, match="0 to 0"):
        opened(Driver({"energy": 0}), indices=indices)


def test_no_gpu_at_all():
    driver = Driver()
    [found] = discover(driver)
    assert "no GPU" in found.reason
    assert driver.opened == 0


def test_a_host_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # import then raises ImportError
    with pytest.raises(MeterError) as caught:
        NvmlSensor().open()
    assert caught.value.fix == "pip install nvidia-ml-py"


def test_discovery_leaves_a_source_that_can_be_opened():
    driver = Driver({"energy": 0})
    [found] = discover(driver)
    assert (found.reason, found.fix, driver.opened) == ("", "", 0)
    found.sensor.open()
    assert found.sensor.read().joules == 0.0


def test_what_is_known_of_its_accuracy():
    info = NvmlSensor().info
    assert info.rel_accuracy == 0.05
    assert "2312.02741" in info.provenance
    assert any("host" in part for part in info.excludes)
