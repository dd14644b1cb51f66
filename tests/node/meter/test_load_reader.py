"""What a host says of its load, on made-up trees of /proc and /sys, a made-up firmware and GPUs."""

import time
from types import SimpleNamespace

import pynvml
import pytest
from sysfs_trees import Clock, chip, write

from edgesplit.errors import MeterError
from edgesplit.node.meter import load_reader
from edgesplit.node.meter.gpu_heat import GpuHeat
from edgesplit.node.meter.load_reader import HostLoadReader
from edgesplit.node.process.headroom import Memory

TICKS = 100  # a second of one processor


class NoGpu:
    """A driver without a GPU."""

    NVMLError = pynvml.NVMLError

    def nvmlInit(self):
        raise pynvml.NVMLError(12)


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch):
    monkeypatch.setattr(load_reader.os, "sysconf", lambda name: TICKS)
    monkeypatch.setattr(load_reader, "tightest_memory", lambda: Memory(1000, 250))


@pytest.fixture
def host(tmp_path):
    """A host whose processors, own seconds and clock the test moves."""
    own, clock = Clock(), Clock()

    def reader(**given):
        return HostLoadReader(tmp_path, own, clock, given.pop("gpus", GpuHeat(NoGpu())), **given)

    return SimpleNamespace(root=tmp_path, own=own, clock=clock, reader=reader)


def processors(root, user, idle, iowait=0):
    """Ticks so far, of all processors."""
    line = f"cpu  {user} 0 0 {idle} {iowait} 0 0 0 0 0\ncpu0 1 2 3 4"
    write(root / "proc", stat=line)


def thermal(root, number, temp, *trips):
    files = {"type": "cpu-thermal", "temp": temp}
    for place, (kind, limit) in enumerate(trips):
        files |= {f"trip_point_{place}_type": kind, f"trip_point_{place}_temp": limit}
    return write(root / f"sys/class/thermal/thermal_zone{number}", **files)


def after_a_second(host, reader, busy, own_s, iowait=0):
    """The word after a second of four processors, of which so many were busy."""
    processors(host.root, 1000, 5000)
    reader.read()
    host.clock.now_s += 1.0
    host.own.now_s += own_s
    processors(host.root, 1000 + busy * TICKS, 5000 + (4 - busy - iowait) * TICKS, iowait * TICKS)
    return reader.read()


@pytest.mark.parametrize(
    ("busy", "own_s", "others"),
    [(0, 0.0, 0.0), (2, 0.0, 0.5), (2, 1.0, 0.25), (4, 4.0, 0.0), (4, 0.0, 1.0), (1, 1.3, 0.0)],
)
def test_what_others_take_of_the_processors(host, busy, own_s, others):
    assert after_a_second(host, host.reader(), busy, own_s).utilisation == pytest.approx(others)


def test_waiting_for_disks_is_idle(host):
    assert after_a_second(host, host.reader(), 1, 0.0, iowait=3).utilisation == pytest.approx(0.25)


def test_the_first_word_knows_no_utilisation(host):
    processors(host.root, 1000, 5000)
    word = host.reader().read()
    assert word.utilisation is None
    assert (word.free_bytes, word.total_bytes) == (250, 1000)
    assert (word.temperature_c, word.throttles_at_c, word.is_throttled) == (None, None, None)


@pytest.mark.parametrize("text", ["", "cpu", "cpu a b c d e f", "intr 1 2 3 4 5 6"])
def test_processors_that_say_nothing(host, text):
    reader = host.reader()
    for _ in range(2):
        write(host.root / "proc", stat=text)
        host.clock.now_s += 1.0
        assert reader.read().utilisation is None


def test_a_word_is_given_again_within_a_second(host):
    processors(host.root, 1000, 5000)
    zone = thermal(host.root, 0, 50_000, ("passive", 80_000))
    reader = host.reader()
    assert reader.read().temperature_c == 50.0
    write(zone, temp=70_000)
    host.clock.now_s += 0.9
    assert reader.read().temperature_c == 50.0
    host.clock.now_s += 0.2
    assert reader.read().temperature_c == 70.0


@pytest.mark.parametrize(
    ("zones", "found"),
    [
        ([(60_000, ("active", 50_000), ("passive", 80_000), ("critical", 110_000))], (60.0, 80.0)),
        ([(60_000, ("critical", 105_000), ("hot", 95_000))], (60.0, 95.0)),
        ([(60_000, ("critical", 105_000))], (60.0, 105.0)),
        ([(60_000, ("passive", 90_000), ("passive", 85_000))], (60.0, 85.0)),
        # The zone that is nearer to its limit, not the hotter one.
        ([(70_000, ("passive", 110_000)), (60_000, ("passive", 65_000))], (60.0, 65.0)),
        # Of no use: no trip point, one that is not set, no sensor behind it.
        ([(60_000,)], (None, None)),
        ([(60_000, ("passive", 0))], (None, None)),
        ([(60_000, ("passive", -274_000))], (None, None)),
        ([(-273_150, ("passive", 80_000))], (None, None)),
        ([("", ("passive", 80_000))], (None, None)),
    ],
)
def test_thermal_zones(host, zones, found):
    for number, (temp, *trips) in enumerate(zones):
        thermal(host.root, number, temp, *trips)
    word = host.reader().read()
    assert (word.temperature_c, word.throttles_at_c) == found


def test_intels_processors_say_it_through_hwmon(host):
    sys = host.root / "sys"
    chip(sys, 0, "coretemp", temp1_input=91_000, temp1_crit=100_000, temp2_input=95_000,
         temp2_crit=100_000)  # fmt: skip
    chip(sys, 1, "nvme", temp1_input=80_000, temp1_crit=84_000)
    word = host.reader().read()
    assert (word.temperature_c, word.throttles_at_c) == (95.0, 100.0)


@pytest.mark.parametrize(
    ("answer", "is_throttled"),
    [
        ("throttled=0x0", False),
        ("throttled=0xe0000", False),  # it was, since the host was started
        ("throttled=0x1", False),  # a low voltage alone
        ("throttled=0x50005", True),
        ("throttled=0x8", True),
        ("throttled=0x2", True),
        ("error=1 error_msg=\"Command not registered\"", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_pis_firmware(host, answer, is_throttled):
    asked = []

    def firmware(command):
        asked.append(command)
        return answer

    reader = host.reader(firmware=firmware)
    assert reader.read().is_throttled is is_throttled
    host.clock.now_s += 1.0
    assert reader.read().is_throttled is is_throttled
    assert asked == ["get_throttled"] * (1 if is_throttled is None else 2)


def test_a_firmware_that_refuses_is_not_asked_again(host):
    asked = []

    def firmware(command):
        asked.append(command)
        raise MeterError("no")

    reader = host.reader(firmware=firmware)
    for _ in range(3):
        assert reader.read().is_throttled is None
        host.clock.now_s += 1.0
    assert len(asked) == 1


class Gpus:
    """NVML of GPUs that tell degrees, a threshold and reasons; None: not supported."""

    NVMLError = pynvml.NVMLError

    def __init__(self, *gpus):
        self.gpus = gpus

    def nvmlInit(self):
        pass

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def told(self, gpu, place):
        if self.gpus[gpu][place] is None:
            raise pynvml.NVMLError(3)
        return self.gpus[gpu][place]

    def nvmlDeviceGetTemperature(self, gpu, sensor):
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return self.told(gpu, 0)

    def nvmlDeviceGetTemperatureThreshold(self, gpu, threshold):
        assert threshold == pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        return self.told(gpu, 1)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu):
        return self.told(gpu, 2)


@pytest.mark.parametrize(
    ("gpus", "found"),
    [
        ([(60, 90, 0)], (60.0, 90.0, False)),
        ([(60, 90, 0x1)], (60.0, 90.0, False)),  # idle
        ([(60, 90, pynvml.nvmlClocksThrottleReasonSwPowerCap)], (60.0, 90.0, False)),
        ([(60, 90, pynvml.nvmlClocksThrottleReasonHwSlowdown)], (60.0, 90.0, True)),
        ([(60, 90, 0), (88, 90, 0x40)], (88.0, 90.0, True)),
        ([(None, 90, 0)], (None, None, False)),
        ([(60, None, 0x40)], (None, None, None)),
        ([(60, 90, None)], (60.0, 90.0, None)),
        ([], (None, None, None)),
    ],
)
def test_gpus(host, gpus, found):
    word = host.reader(gpus=GpuHeat(Gpus(*gpus))).read()
    assert (word.temperature_c, word.throttles_at_c, word.is_throttled) == found


def test_this_host_says_what_others_take(monkeypatch):
    monkeypatch.undo()
    clock = Clock()
    reader = HostLoadReader(clock=clock, gpus=GpuHeat(NoGpu()))
    assert reader.read().utilisation is None
    deadline_s = time.monotonic() + 30.0
    while (word := reader.read()).utilisation is None and time.monotonic() < deadline_s:
        clock.now_s += 1.0  # until the kernel has counted another tick
    assert 0.0 <= word.utilisation <= 1.0
    assert 0 < word.free_bytes < word.total_bytes
