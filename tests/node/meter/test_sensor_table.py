"""The table of sensors: one more line is looked for, opened, listed and named wherever they are."""

import json
import math

import pytest
from click.testing import CliRunner

from edgesplit import Config
from edgesplit.cli import main
from edgesplit.cli.doctor import examine
from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.core.power import Power
from edgesplit.errors import MeterError, UnknownNameError
from edgesplit.node.meter import choose
from edgesplit.node.meter.choose import discover, named_sensor, open_meter
from edgesplit.node.meter.host_state import boot_id
from edgesplit.node.meter.sensor import Found
from edgesplit.node.meter.sensor.table import SENSORS, KnownSensor

PLAIN = Power(12.0, 12.0, 12.0, 2.0, provenance="power.toml")


class MadeUpSensor:
    def __init__(self, argument=""):
        self.argument = argument
        self.info = SensorInfo("made-up", "wall", "power", 0.1, 0.1, 0.1, math.nan, (), "none")

    def open(self):
        pass

    def read(self):
        return Reading(0.0, watts=7.0)

    def close(self):
        pass


@pytest.fixture
def add(monkeypatch, tmp_path):
    """Adds a line to the table."""
    monkeypatch.setenv("EDGESPLIT_CALIBRATION", str(tmp_path / "energy.json"))

    def add(**given):
        line = KnownSensor("made-up", **given)
        monkeypatch.setitem(SENSORS, line.name, line)

    return add


def test_one_line_more_is_looked_for_and_listed(add):
    add(discover=lambda sysfs: [Found("made-up-2", None, f"not in {sysfs}", "plug it in")])
    assert discover()[-1].id == "made-up-2"
    rows = json.loads(CliRunner().invoke(main, ["meters", "--json"]).output)
    [row] = [row for row in rows if row["id"] == "made-up-2"]
    assert (row["reason"], row["fix"]) == ("not in /sys", "plug it in")
    [check] = [check for check in examine() if check.name == "meter made-up-2"]
    assert (check.found, check.remedy) == ("not in /sys", "plug it in")
    with pytest.raises(MeterError, match="not in /elsewhere; plug it in"):
        named_sensor("made-up-2:/elsewhere")


def test_one_line_more_is_opened_by_its_argument_and_named_in_errors(add):
    add(from_argument=MadeUpSensor, argument="PORT", is_elsewhere=True)
    assert named_sensor("made-up:ttyUSB0").argument == "ttyUSB0"
    meter = open_meter("made-up:ttyUSB0", PLAIN)
    assert meter.metering.covers == (("ttyUSB0", "wall"),)
    meter.close()
    assert Config(meters={"end": "made-up:ttyUSB0"})
    with pytest.raises(UnknownNameError, match="replay, made-up, each also with :ARGUMENT"):
        Config(meters={"end": "wattmeter"})
    with pytest.raises(MeterError, match=r"known are auto, model, .*, made-up:PORT"):
        named_sensor("wattmeter")


def test_one_line_more_is_taken_by_itself_unless_it_says_otherwise(add, monkeypatch):
    monkeypatch.setattr(choose, "AUTO_SCOPES", ("wall",))
    for known in list(SENSORS):
        monkeypatch.delitem(SENSORS, known)
    found = [Found("made-up", MadeUpSensor())]
    add(discover=lambda sysfs: found)
    meter = open_meter("auto", PLAIN)
    assert meter.metering.covers == ((boot_id(), "wall"),)
    meter.close()
    add(discover=lambda sysfs: found, by_name_only=("made-up",))
    assert open_meter("auto", PLAIN).metering.kind == "modelled"


def test_what_is_assumed_reads_nothing(add):
    add(from_argument=MadeUpSensor, argument="WATTS", is_assumed=True)
    meter = open_meter("made-up:7", PLAIN)
    assert meter.metering.kind == "modelled"
    assert meter.metering.provenance == "made-up, 7 W"
    assert meter.power.watts == (7.0, 7.0, 7.0, 7.0, 0.0)
