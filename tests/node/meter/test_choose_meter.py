"""Which meter a tier gets: by name, by itself, with what this host has been calibrated for."""

import math

import pytest
from sysfs_trees import zone

from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.core.power import Power
from edgesplit.errors import MeterError
from edgesplit.node.meter import choose
from edgesplit.node.meter.calibration import (
    Calibration,
    HostCalibrations,
    add_calibration,
    calibration_file,
    read_calibrations,
    write_calibrations,
)
from edgesplit.node.meter.choose import OTHERS_BOARD, named_sensor, open_meter
from edgesplit.node.meter.host_state import UNKNOWN, boot_id, computing_state, host_id, host_state
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.meter.sampled import REPEATABILITY, SampledMeter
from edgesplit.node.meter.sensor import Found, rapl
from edgesplit.node.meter.sensor.pi_pmic import ONE_BOARD, PiPmicSensor, PmicCalibration
from edgesplit.node.meter.sensor.table import SENSORS, KnownSensor

PLAIN = Power(12.0, 12.0, 12.0, 2.0, provenance="power.toml")
SURE = tuple(tuple(0.01 if i == j else 0.0 for j in range(5)) for i in range(5))
MADE = Calibration(
    "rapl", "cpu package", "2026-11-24T10:00:00+00:00", (8.0, 4.0, 4.0, 3.0, 2.0), SURE, 15
)


@pytest.fixture(autouse=True)
def _own_file(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGESPLIT_CALIBRATION", str(tmp_path / "energy.json"))


@pytest.fixture
def has(monkeypatch):
    """The host has these meters and no others."""

    def found(*sensors):
        monkeypatch.setattr(choose, "discover", lambda root=None: list(sensors))

    return found


@pytest.fixture
def opened():
    """open_meter, whose meters are closed after the test."""
    meters = []

    def open_and_keep(*args):
        meters.append(open_meter(*args))
        return meters[-1]

    yield open_and_keep
    for meter in meters:
        meter.close()


def test_without_any_meter_the_power_model_is_used(has, opened):
    has(Found("rapl", None, "no zone"))
    meter = opened("auto", PLAIN)
    assert isinstance(meter, PowerModelMeter)
    assert meter.power is PLAIN
    with pytest.raises(MeterError, match=r"no meter is read here \(power\.toml\)"):
        meter.window(0.0, 1.0)


def test_by_itself_the_widest_scope_of_one_tier_is_taken(opened, monkeypatch, tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", energy_uj=5_000_000)
    zone(tmp_path, "intel-rapl:1", "psys", energy_uj=7_000_000)
    monkeypatch.setattr(choose, "SYS", tmp_path)
    monkeypatch.setattr(choose, "discover", lambda root=tmp_path: rapl.discover(root))
    meter = opened("auto", PLAIN)
    assert isinstance(meter, SampledMeter)
    assert (meter.metering.provenance, meter.metering.scope) == ("rapl", "cpu package")
    assert meter.metering.covers == ((boot_id(), "cpu package"),)
    assert REPEATABILITY in meter.metering.flags


def test_a_sysfs_of_another_place_and_calibrated_watts(opened, tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", energy_uj=5_000_000)
    name = f"rapl:{tmp_path}"
    assert opened(name, PLAIN).power is PLAIN
    write_calibrations(HostCalibrations({name: MADE}))
    power = opened(name, PLAIN).power
    assert (power.compute_w, power.idle_w, power.scope) == (8.0, 2.0, "cpu package")
    assert power.provenance == "calibrated with rapl on 2026-11-24, ± is repeatability alone"
    assert power.u_j({"compute": 2.0}) == pytest.approx(0.2)


def test_a_meter_that_may_not_be_read_is_named_by_itself(has, opened):
    has(Found("rapl", None, "energy_uj may not be read by this user", "sudo chmod"))
    meter = opened("auto", PLAIN)
    assert isinstance(meter, PowerModelMeter)
    assert meter.metering.flags == (
        "not metered: rapl: energy_uj may not be read by this user; sudo chmod",
    )


def test_another_set_of_meters_is_not_calibrated_and_says_so(opened, tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", energy_uj=5_000_000)
    write_calibrations(HostCalibrations({"nvml": MADE}))
    meter = opened(f"rapl:{tmp_path}", PLAIN)
    assert "not calibrated: this host is for nvml only" in meter.metering.flags
    assert meter.metering.covers == ((f"{boot_id()}{tmp_path}", "cpu package"),)


def test_the_testers_and_chips_of_unknown_rails_are_not_taken_by_themselves(has, opened):
    class Tester:
        info = SensorInfo("hwmon-powerz-0", "board input", "power", 0.1, 0.1, 1e-3, 0.01, (), "")

    has(Found("hwmon-powerz-0", Tester()))
    assert isinstance(opened("auto", PLAIN), PowerModelMeter)


def test_fixed_watts_are_the_papers_method(opened):
    meter = opened("fixed:12", PLAIN)
    assert meter.metering.kind == "modelled"
    assert meter.power.watts == (12.0, 12.0, 12.0, 12.0, 0.0)
    assert math.isnan(meter.power.u_j({"compute": 1.0}))


def test_a_calibration_of_another_host_is_flagged_and_not_used(has, opened):
    file = write_calibrations(HostCalibrations({"rapl": MADE}))
    file.write_text(file.read_text().replace(host_id(), "somewhere-else"))
    has()
    meter = opened("auto", PLAIN)
    assert meter.power is PLAIN
    [flag] = meter.metering.flags
    assert flag.startswith("not calibrated: the calibration")
    assert "is of another host (somewhere-else; this one is" in flag


def test_a_pmic_with_another_boards_line_says_so(has, monkeypatch):
    found = [Found("pi-pmic", PiPmicSensor(calibration=ONE_BOARD))]
    has(*found)
    monkeypatch.setitem(SENSORS, "pi-pmic", KnownSensor("pi-pmic", lambda _: found))
    made = named_sensor("pi-pmic")
    assert made.info.scope == "board input"
    assert "another's board" in made.info.provenance
    own = PmicCalibration(1.2, 0.4, 0.05, "2026-11-24", "hwmon-powerz-0")
    assert "hwmon-powerz-0" in named_sensor("pi-pmic", HostCalibrations(pmic=own)).info.provenance

    class Opens:
        def __init__(self, samplers, power, name, flags, place):
            self.flags = flags

        def open(self):
            pass

    monkeypatch.setattr(choose, "SampledMeter", Opens)
    assert open_meter("auto", PLAIN).flags == (OTHERS_BOARD,)
    write_calibrations(HostCalibrations(pmic=own))
    assert open_meter("auto", PLAIN).flags == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wattmeter", r"no meter 'wattmeter' on this host; known are auto, model, "),
        ("fixed:", r"'' is no number; such as fixed:12"),
        ("fixed-more:12", r"no meter 'fixed-more:12' on this host"),
        ("nvml-two-point", r"no meter 'nvml-two-point' on this host"),
        ("fixed:-3", r"must be finite and not negative, given -3"),
        ("nvml:one", r"'one' is no number of a GPU"),
        ("nvml:1.7", r"'1.7' is no number of a GPU"),
        ("shelly:plug", r"plug"),
        ("replay:/nowhere.csv", r"/nowhere\.csv cannot be read"),
        ("rapl+wattmeter", r"cannot be used|no meter"),
    ],
)
def test_a_name_that_leads_nowhere_is_an_error(name, message):
    with pytest.raises(MeterError, match=message):
        open_meter(name, PLAIN)


def test_calibrations_come_back_as_they_were(tmp_path):
    assert read_calibrations() == HostCalibrations()
    add_calibration(MADE)
    own = PmicCalibration(1.2, 0.4, 0.05, "2026-11-24", "hwmon-powerz-0")
    write_calibrations(HostCalibrations(read_calibrations().phases, own))
    assert read_calibrations() == HostCalibrations({"rapl": MADE}, own)
    assert [file.name for file in tmp_path.iterdir()] == ["energy.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no calibration"),
        ('{"host": "x"}', "is no calibration: KeyError"),
        ("[]", "is no calibration"),
    ],
)
def test_a_file_that_is_no_calibration(text, message):
    calibration_file().write_text(text)
    with pytest.raises(MeterError, match=message):
        read_calibrations()


def test_watts_that_cannot_be_are_no_calibration():
    file = add_calibration(MADE)
    file.write_text(file.read_text().replace("8.0", "-8.0"))
    with pytest.raises(MeterError, match=r"is no calibration.*finite watts"):
        read_calibrations()


def test_the_state_of_a_host(tmp_path):
    def put(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    put("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    put("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n")
    put("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n")
    put("sys/class/thermal/thermal_zone0/temp", "48312\n")
    put("sys/class/thermal/thermal_zone1/temp", "garbage\n")
    state = host_state(tmp_path)
    assert state["model"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert state["governor"] == "ondemand, performance"
    assert state["temperature_c"] == "48.3"
    assert state["wifi_power_save"] == "no Wi-Fi"
    assert host_state(tmp_path / "none")["temperature_c"] == UNKNOWN
    assert all(isinstance(value, str) and value for value in host_state().values())


@pytest.mark.parametrize(
    ("mine", "files", "limit"),
    [
        (
            "0::/a/b\n",
            {"a/b/cpu.max": "50000 100000", "a/cpu.max": "max 100000"},
            "50000 100000, max 100000",
        ),
        ("3:cpu,cpuacct:/a\n2:memory:/b\n", {"cpu/a/cpu.cfs_quota_us": "2500"}, "2500"),
        ("", {}, ""),
    ],
)
def test_what_layer_times_depend_on(tmp_path, mine, files, limit):
    gpu = "Model: \t\t H200\nIRQ: 7\n"
    put = {
        "etc/machine-id": "one",
        "proc/self/cgroup": mine,
        "proc/cpuinfo": "model name\t: a CPU\n",
        "proc/driver/nvidia/gpus/0000:01/information": gpu,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }
    for name, text in put.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    state = computing_state(tmp_path)
    assert (state["host"], state["model"], state["gpus"]) == ("one", "a CPU", "H200")
    assert state["cpu_limit"] == limit
    assert state["torch"][0].isdigit()
    assert computing_state() == computing_state()
