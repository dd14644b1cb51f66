"""`edgesplit meters` and `calibrate` as a stranger uses them, on made-up trees of /sys."""

import json
import pickle

import pytest
from click.testing import CliRunner

from edgesplit.cli import main
from edgesplit.errors import MeterError
from edgesplit.node.meter.calibration import check_place
from edgesplit.node.meter.sensor.replay import read_recording


@pytest.fixture
def invoke():
    return lambda *words: CliRunner().invoke(main, list(words))


@pytest.fixture
def rapl(tmp_path):
    zone = tmp_path / "class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    files = {"name": "package-0", "energy_uj": "5000000", "max_energy_range_uj": "262143328850"}
    for name, text in files.items():
        (zone / name).write_text(text + "\n")
    return f"rapl:{tmp_path}"


def test_every_meter_is_listed_with_its_reason(invoke):
    found = invoke("meters")
    assert found.exit_code == 0
    for name in ("rapl", "rapl-psys", "rapl-dram", "hwmon", "battery", "pi-pmic", "nvml"):
        assert any(line.startswith(name) for line in found.output.splitlines()), name
    rows = json.loads(invoke("meters", "--json").output)
    assert {row["id"].split("-")[0] for row in rows} >= {"rapl", "nvml", "pi"}
    assert all(row["usable"] or row["reason"] for row in rows)


def test_a_usable_one_says_what_it_is(invoke, rapl):
    found = invoke("meters", "--meter", rapl)
    assert "rapl: cpu package, counter" in found.output or f"{rapl}: cpu package" in found.output
    assert "a new figure every 1 ms" in found.output
    assert "leaves out: " in found.output
    [row] = json.loads(invoke("meters", "--meter", rapl, "--json").output)
    assert row["usable"]
    assert row["info"]["scope"] == "cpu package"
    assert row["info"]["rel_accuracy"] is None


def test_watching_shows_watts_and_what_it_cost_and_records(invoke, tmp_path):
    file = tmp_path / "fixed.csv"
    found = invoke("meters", "--meter", "fixed:12", "--seconds", "0.8", "--out", str(file))
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    assert "12.000" in lines[0]
    assert "uncertainty unknown" in lines[0]
    assert "sampling took" in lines[-1]
    assert {reading.watts for reading in read_recording(file)} == {12.0}
    rows = invoke("meters", "--meter", "fixed:12", "--seconds", "0.6", "--json").stdout
    assert json.loads(rows.splitlines()[0])["watts"] == pytest.approx(12.0)


def test_a_meter_that_was_named_and_cannot_be_used_is_a_failure(invoke, rapl):
    for name in ("bogus", "rapl:/nowhere", "fixed:-3", "fixed:x", "nvml:x", "replay:none.csv"):
        found = invoke("meters", "--meter", name, "--meter", rapl)
        assert found.exit_code == 1, name
        assert f"{name}: cannot be used: " in found.output
        assert json.loads(invoke("meters", "--meter", name, "--json").stdout)[0]["reason"]
    assert "known are auto, model, rapl" in invoke("meters", "--meter", "bogus").output
    assert invoke("meters", "--meter", rapl).exit_code == 0


def test_a_recording_that_cannot_be_kept_is_told_before_anything_is_read(
    invoke, monkeypatch, tmp_path
):
    def no_meter(name):
        raise AssertionError("the file comes first")

    monkeypatch.setattr("edgesplit.node.meter.choose.named_sensor", no_meter)
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "none" / "x.csv", tmp_path / "file" / "x.csv"):
        found = invoke("meters", "--seconds", "60", "--meter", "fixed:1", "--out", str(out))
        assert found.exit_code == 1
        assert "cannot write" in found.stderr


def test_a_calibration_that_cannot_be_kept_is_told_first(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGESPLIT_CALIBRATION", str(tmp_path / "file" / "energy.json"))
    with pytest.raises(MeterError, match="cannot write the calibration"):
        check_place()
    kept = tmp_path / "there" / "energy.json"
    monkeypatch.setenv("EDGESPLIT_CALIBRATION", str(kept))
    check_place()
    assert list(kept.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["meters", "--watch", "--meter", "rapl:/nowhere"], "no package zone under /nowhere"),
        (["calibrate", "--pmic-against", "fixed:1"], "this is no Raspberry Pi 5"),
    ],
)
def test_mistakes_are_told_in_one_line(invoke, words, message):
    found = invoke(*words)
    assert found.exit_code == 1
    assert message in found.output
    assert "Traceback" not in found.output


@pytest.mark.parametrize(
    "words",
    [
        ["calibrate", "--seconds", "0"],
        ["calibrate", "--rounds", "0"],
        ["run", "alexnet", "x.png", "--meter", "rapl"],
        ["run", "alexnet", "x.png", "--meter", "=rapl"],
    ],
)
def test_wrong_usage(invoke, words):
    assert invoke(*words).exit_code == 2


def test_an_error_of_a_meter_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(MeterError("gone", "plug it in")))
    assert (error.reason, error.fix, str(error)) == ("gone", "plug it in", "gone; plug it in")
