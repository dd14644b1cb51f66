"""Power meter chips on fake trees: pairing by chip, scopes, steps, and what is refused."""

import pytest
from sysfs_trees import Clock, chip, write

from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor import hwmon
from edgesplit.node.meter.sensor.hwmon import HwmonSensor

JETSON = {
    "in1_label": "VDD_IN", "in1_input": 5000, "curr1_input": 1200,
    "in1_enable": 1, "shunt1_resistor": 5000,
    "in2_label": "VDD_CPU_GPU_CV", "in2_input": 5000, "curr2_input": 400, "in2_enable": 1,
    "in3_label": "VDD_SOC", "in3_input": 5000, "curr3_input": 200, "in3_enable": 1,
    "in4_input": 6, "in5_input": 2, "in6_input": 1,
    "in7_input": 9, "in7_label": "sum of shunt voltages",
    "curr4_input": 1800,
}  # fmt: skip


def jetson(root, number=0, **changes):
    return chip(root, number, "ina3221", **{**JETSON, **changes})


def opened(root, id, clock=None):
    sensor = HwmonSensor(id, root, clock or Clock())
    sensor.open()
    return sensor


def only(found):
    (one,) = found
    return one


@pytest.mark.parametrize("name", ["ina219", "ina220", "ina226", "ina230", "ina231", "ina260"])
def test_power_of_the_chip_is_preferred(tmp_path, name):
    """in0 is the shunt's voltage: paired with curr1 it would give milliwatts."""
    chip(tmp_path, 3, name, in0_input=10, in1_input=5000, curr1_input=1000, power1_input=5_250_000)
    sensor = opened(tmp_path, f"hwmon-{name}-0")
    reading = sensor.read()
    assert reading.watts == pytest.approx(5.25)
    assert reading.parts == pytest.approx({name: 5.25})
    assert reading.joules is None
    assert (sensor.info.kind, sensor.info.scope) == ("power", "board input")
    assert "power1_input" in sensor.info.provenance
    assert "assumed to sit at the board's supply" in sensor.info.provenance


@pytest.mark.parametrize(
    ("name", "volt"),
    [("ina219", 1), ("ina226", 1), ("ina260", 1), ("ina238", 1), ("ltc2947", 0), ("powerz", 0)],
)
def test_volts_times_amperes_by_the_rule_of_the_chip(tmp_path, name, volt):
    inputs = {"in0_input": 77, "in1_input": 88, f"in{volt}_input": 5000}
    chip(tmp_path, 0, name, **inputs, curr1_input=900)
    sensor = opened(tmp_path, f"hwmon-{name}-0")
    assert sensor.read().watts == pytest.approx(4.5)
    assert f"in{volt}_input * curr1_input, two reads" in sensor.info.provenance


def test_energy_of_the_chip_comes_first(tmp_path):
    clock = Clock()
    folder = chip(tmp_path, 0, "ltc2947", energy1_input=1_000_000, power1_input=1, curr1_input=1)
    sensor = opened(tmp_path, "hwmon-ltc2947-0", clock)
    write(folder, energy1_input=4_500_000)
    clock.now_s += 1
    reading = sensor.read()
    assert (reading.joules, reading.watts) == (pytest.approx(3.5), None)
    assert sensor.info.kind == "counter"
    write(folder, energy1_input=2_000_000)
    clock.now_s += 1
    reading = sensor.read()
    assert (reading.joules, reading.is_break) == (pytest.approx(3.5), True)


def test_energy_counts_only_where_the_rule_says_so(tmp_path):
    """A stray file of a chip with several channels belongs to no known one."""
    jetson(tmp_path, energy1_input=5, power1_input=7)
    assert opened(tmp_path, "hwmon-ina3221-VDD_IN").read().watts == pytest.approx(6.0)


def test_jetson_reads_its_total_rail_only(tmp_path):
    jetson(tmp_path)
    found = only(hwmon.discover(tmp_path))
    assert found.id == "hwmon-ina3221-VDD_IN"
    sensor = opened(tmp_path, found.id)
    assert sensor.read().parts == pytest.approx({"VDD_IN": 6.0})
    assert sensor.info.scope == "board input"
    assert sensor.info.excludes == ("carrier board beyond the module",)


def test_old_jetson_total_on_another_channel(tmp_path):
    jetson(tmp_path, in1_label="POM_5V_GPU", in3_label="POM_5V_IN", curr3_input=1500)
    assert opened(tmp_path, "hwmon-ina3221-POM_5V_IN").read().watts == pytest.approx(7.5)


def test_rails_of_two_chips_are_summed_where_there_is_no_total(tmp_path):
    jetson(tmp_path, 0, in1_label="VDD_GPU_SOC", in2_label="VDD_CPU_CV", in3_label="VIN_SYS_5V0")
    jetson(tmp_path, 1, in1_label="NC", in2_label="VDDQ", in3_label="NC")
    sensor = opened(tmp_path, only(hwmon.discover(tmp_path)).id)
    reading = sensor.read()
    assert reading.parts == pytest.approx(
        {"VDD_GPU_SOC": 6.0, "VDD_CPU_CV": 2.0, "VIN_SYS_5V0": 1.0, "VDDQ": 2.0}
    )
    assert reading.watts == pytest.approx(11.0)
    assert (sensor.info.id, sensor.info.scope) == ("hwmon-ina3221-rails", "board rails")
    assert "counted twice [unverified]" in sensor.info.provenance


def test_rails_of_one_name_are_both_kept(tmp_path):
    for number in (0, 1):
        jetson(tmp_path, number, in1_label="A", in2_label="NC", in3_label="NC")
    reading = opened(tmp_path, "hwmon-ina3221-rails").read()
    assert reading.parts == pytest.approx({"A hwmon0": 6.0, "A hwmon1": 6.0})


@pytest.mark.parametrize("switch", ["in2_enable", "curr2_enable"])
def test_disabled_channel_is_skipped(tmp_path, switch):
    jetson(tmp_path, in1_label="A", in2_label="B", in3_label="C", **{switch: 0})
    assert set(opened(tmp_path, "hwmon-ina3221-rails").read().parts) == {"A", "C"}


def test_disabled_total_is_no_total(tmp_path):
    jetson(tmp_path, in1_enable=0)
    reading = opened(tmp_path, "hwmon-ina3221-rails").read()
    assert set(reading.parts) == {"VDD_CPU_GPU_CV", "VDD_SOC"}


def test_channels_without_a_label_are_refused(tmp_path):
    folder = chip(tmp_path, 0, "ina3221", in1_input=5000, curr1_input=1000)
    found = only(hwmon.discover(tmp_path))
    assert found.sensor is None
    assert "has no channel that is on and has a label" in found.reason
    assert f"echo 1 | sudo tee {folder}/in1_enable" in found.fix


def test_disabled_chip_is_refused_with_the_switch(tmp_path):
    folder = chip(tmp_path, 0, "ina226", in1_input=5000, curr1_input=1000, in1_enable=0)
    found = only(hwmon.discover(tmp_path))
    assert (found.id, found.sensor) == ("hwmon-ina226-0", None)
    assert found.fix == f"echo 1 | sudo tee {folder}/in1_enable"


@pytest.mark.parametrize(
    "file", ["power1_input", "power1_average", "power12_input", "energy3_input"]
)
def test_unknown_chip_with_power_is_refused_by_name(tmp_path, file):
    chip(tmp_path, 2, "amdgpu", **{file: 5_000_000})
    found = only(hwmon.discover(tmp_path))
    assert found.sensor is None
    assert "'amdgpu'" in found.reason
    assert "which of its files belong together is not known" in found.reason
    assert "CHIPS" in found.fix


def test_chips_that_measure_no_power_are_left_out(tmp_path):
    chip(tmp_path, 0, "coretemp", temp1_input=45000, power_limit="x")
    write(tmp_path / "class/hwmon/hwmon1", temp1_input=1)  # without a name
    found = only(hwmon.discover(tmp_path))
    assert (found.id, found.sensor, found.fix) == ("hwmon", None, "")
    assert "ina219" in found.reason


def test_no_hwmon_at_all(tmp_path):
    assert only(hwmon.discover(tmp_path)).sensor is None


def test_several_inas_are_rails_of_their_own(tmp_path):
    """hwmon10 comes after hwmon9, so that numbers do not jump about."""
    for number, amperes in ((10, 3000), (9, 2000)):
        chip(tmp_path, number, "ina226", in1_input=5000, curr1_input=amperes)
    chip(tmp_path, 11, "ina219", in1_input=5000, curr1_input=1000)
    found = hwmon.discover(tmp_path)
    assert [one.id for one in found] == ["hwmon-ina226-0", "hwmon-ina226-1", "hwmon-ina219-0"]
    assert {one.sensor.info.scope for one in found} == {"board rails"}
    watts = [opened(tmp_path, one.id).read().watts for one in found]
    assert watts == pytest.approx([10.0, 15.0, 5.0])


def test_powerz_beside_an_ina_leaves_it_single(tmp_path):
    chip(tmp_path, 0, "ina226", in1_input=5000, curr1_input=1000)
    chip(tmp_path, 1, "powerz", in0_input=5000, curr1_input=1000)
    assert {one.sensor.info.scope for one in hwmon.discover(tmp_path)} == {"board input"}


def test_powerz_plugged_in_the_other_way_round(tmp_path):
    chip(tmp_path, 0, "powerz", in0_input=5100, curr1_input=-1000, in0_label="VBUS")
    assert opened(tmp_path, "hwmon-powerz-0").read().watts == pytest.approx(5.1)


def test_a_shunt_wired_backwards_is_an_error(tmp_path):
    chip(tmp_path, 0, "ina226", in1_input=5000, curr1_input=-1000)
    found = only(hwmon.discover(tmp_path))
    assert found.sensor is None
    assert "-5 W" in found.reason
    assert found.fix == "swap the two leads of the shunt"


def test_noise_below_one_step_is_no_error(tmp_path):
    jetson(tmp_path, curr1_input=-4)
    assert opened(tmp_path, "hwmon-ina3221-VDD_IN").read().watts == pytest.approx(-0.02)


def test_noise_about_zero_keeps_its_sign(tmp_path):
    jetson(tmp_path, in1_label="A", in2_label="B", in3_label="C", curr3_input=-4)
    reading = opened(tmp_path, "hwmon-ina3221-rails").read()
    assert reading.parts["C"] == pytest.approx(-0.02)
    assert reading.watts == pytest.approx(7.98)


@pytest.mark.parametrize(
    ("files", "update_s"),
    [
        ({"update_interval": 35}, 0.035),
        ({"update_interval": 0}, 0.001),
        ({"samples": 16}, 0.1056),
        ({"samples": 16, "update_interval": 106}, 0.106),
        ({}, 0.0066),
    ],
)
def test_averaging_is_what_the_chip_says(tmp_path, files, update_s):
    jetson(tmp_path, **files)
    info = opened(tmp_path, "hwmon-ina3221-VDD_IN").info
    assert (info.update_s, info.averaging_s) == (pytest.approx(update_s), pytest.approx(update_s))


@pytest.mark.parametrize(
    ("changes", "resolution"),
    [
        ({"shunt1_resistor": 10_000}, 5.0 * 0.004),  # 40 uV over 10 mOhm, at 5 V
        ({"shunt1_resistor": 5_000}, 5.0 * 0.008),
        ({"shunt1_resistor": 500_000}, 1.2 * 0.008),  # then 8 mV of the bus, at 1.2 A
    ],
)
def test_step_of_an_ina3221(tmp_path, changes, resolution):
    jetson(tmp_path, **changes)
    assert opened(tmp_path, "hwmon-ina3221-VDD_IN").info.resolution == pytest.approx(resolution)


@pytest.mark.parametrize(
    ("name", "shunt_uohm", "resolution"),
    [("ina219", 100_000, 0.002), ("ina226", 10_000, 0.00625), ("ina238", 10_000, 0.0001)],
)
def test_step_of_a_power_file(tmp_path, name, shunt_uohm, resolution):
    chip(tmp_path, 0, name, power1_input=5_000_000, shunt_resistor=shunt_uohm)
    info = opened(tmp_path, f"hwmon-{name}-0").info
    assert info.resolution == pytest.approx(resolution)
    assert f"shunt {shunt_uohm / 1000:g} mOhm as its driver was told" in info.provenance


def test_step_of_the_built_in_shunt(tmp_path):
    chip(tmp_path, 0, "ina260", power1_input=5_000_000)
    assert opened(tmp_path, "hwmon-ina260-0").info.resolution == pytest.approx(0.01)


def test_a_reading_is_stamped_amid_its_reads(tmp_path):
    jetson(tmp_path)
    times_s = iter([1.0, 1.0, 2.0, 2.5])
    sensor = opened(tmp_path, "hwmon-ina3221-VDD_IN", lambda: next(times_s))
    assert sensor.read().at_s == 2.25


@pytest.mark.parametrize("text", ["", "garbage", "5.0"])
def test_garbage(tmp_path, text):
    folder = jetson(tmp_path)
    sensor = opened(tmp_path, "hwmon-ina3221-VDD_IN")
    write(folder, curr1_input=text)
    with pytest.raises(MeterError, match="not a whole number") as caught:
        sensor.read()
    assert str(folder / "curr1_input") in caught.value.reason
    assert repr(text) in caught.value.reason


def test_a_power_file_that_vanishes_is_not_replaced(tmp_path):
    folder = chip(tmp_path, 0, "ina226", in1_input=1, curr1_input=1, power1_input=5_000_000)
    sensor = opened(tmp_path, "hwmon-ina226-0")
    (folder / "power1_input").unlink()
    with pytest.raises(MeterError, match="power1_input is not there"):
        sensor.read()


def test_garbage_in_a_setting_is_told_by_discovery(tmp_path):
    folder = jetson(tmp_path, in1_enable="maybe")
    found = only(hwmon.discover(tmp_path))
    assert found.sensor is None
    assert str(folder / "in1_enable") in found.reason


def test_unknown_id_names_those_that_are_there(tmp_path):
    jetson(tmp_path)
    with pytest.raises(MeterError, match="hwmon-ina3221-VDD_IN"):
        opened(tmp_path, "hwmon-ina226-0")


def test_closed_source_is_not_read(tmp_path):
    jetson(tmp_path)
    sensor = only(hwmon.discover(tmp_path)).sensor
    with pytest.raises(MeterError, match="not open"):
        sensor.read()
