"""Batteries on fake trees: watts only while nothing charges them."""

import shutil

import pytest
from sysfs_trees import Clock, battery, write

from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor.battery import BatterySensor, discover


def opened(root, id="battery"):
    sensor = BatterySensor(id, root, Clock())
    sensor.open()
    return sensor


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("files", "watts", "step_w"),
    [
        ({"power_now": 8_500_000}, 8.5, 0.001),
        ({"voltage_now": 12_000_000, "current_now": 750_000}, 9.0, 0.012),
        ({"power_now": 8_500_000, "voltage_now": 1, "current_now": 1}, 8.5, 0.001),
    ],
)
def test_watts_whatever_the_sign(tmp_path, files, watts, step_w, sign):
    signed = {name: sign * n if name != "voltage_now" else n for name, n in files.items()}
    battery(tmp_path, **signed)
    sensor = opened(tmp_path)
    reading = sensor.read()
    assert reading.watts == pytest.approx(watts)
    assert reading.parts == pytest.approx({"BAT0": watts})
    assert reading.at_s == 100.0
    assert sensor.info.resolution == pytest.approx(step_w)


def test_what_it_says_of_itself(tmp_path):
    battery(tmp_path, voltage_now=12_000_000, current_now=750_000)
    info = opened(tmp_path).info
    assert (info.id, info.scope, info.kind, info.update_s) == ("battery", "battery", "power", 30.0)
    assert "voltage_now * current_now, two reads" in info.provenance
    assert "[unverified]" in info.provenance


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging", "Unknown", ""])
def test_only_while_discharging(tmp_path, status):
    battery(tmp_path, status=status, power_now=8_500_000)
    (found,) = discover(tmp_path)
    assert found.sensor is None
    assert repr(status) in found.reason
    assert found.fix == "unplug the charger"


def test_a_charger_plugged_in_later(tmp_path):
    folder = battery(tmp_path, power_now=8_500_000)
    sensor = opened(tmp_path)
    write(folder, status="Charging")
    with pytest.raises(MeterError, match="unplug the charger"):
        sensor.read()


def test_zero_watts_are_no_reading(tmp_path):
    battery(tmp_path, power_now=0)
    with pytest.raises(MeterError, match="no figure yet"):
        opened(tmp_path)


def test_several_batteries(tmp_path):
    battery(tmp_path, "BAT0", status="Full", power_now=0)
    battery(tmp_path, "BAT1", power_now=7_000_000)
    battery(tmp_path, "AC", power_now=1)
    full, used = discover(tmp_path)
    assert (full.id, full.sensor) == ("battery-BAT0", None)
    assert used.id == "battery-BAT1"
    sensor = opened(tmp_path, "battery-BAT1")
    assert sensor.read().watts == pytest.approx(7.0)
    assert sensor.info.excludes == ("battery-BAT0",)


def test_no_battery(tmp_path):
    (found,) = discover(tmp_path)
    assert (found.id, found.sensor, found.fix) == ("battery", None, "")
    with pytest.raises(MeterError, match="no battery under"):
        opened(tmp_path)


@pytest.mark.parametrize("text", ["", "garbage", "8.5"])
def test_garbage(tmp_path, text):
    folder = battery(tmp_path, power_now=8_500_000)
    sensor = opened(tmp_path)
    write(folder, power_now=text)
    with pytest.raises(MeterError, match="not a whole number") as caught:
        sensor.read()
    assert str(folder / "power_now") in caught.value.reason


def test_a_battery_that_is_taken_out(tmp_path):
    folder = battery(tmp_path, voltage_now=12_000_000, current_now=750_000)
    sensor = opened(tmp_path)
    shutil.rmtree(folder)
    with pytest.raises(MeterError, match="is not there"):
        sensor.read()


def test_discovery_leaves_it_closed(tmp_path):
    battery(tmp_path, power_now=8_500_000)
    (found,) = discover(tmp_path)
    with pytest.raises(MeterError, match="not open"):
        found.sensor.read()
