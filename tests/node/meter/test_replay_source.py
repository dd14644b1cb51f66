"""Recordings: written and read back whole, played in time, and refused with the line at fault."""

import math

import pytest

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor.fixed import FixedSensor
from edgesplit.node.meter.sensor.replay import ReplaySensor, read_recording, write_recording

WATTS = """\
# scope: board input
at_s,watts
0.0,5.0
0.5,7.5
2.0,6.0
"""
INFO = SensorInfo(
    "pi-pmic",
    "board rails",
    "power",
    0.1,
    0.02,
    1e-3,
    math.nan,
    ("USB", "fan"),
    "a\n test; made up",
)


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def recording(folder, text):
    path = folder / "recording.csv"
    path.write_text(text)
    return path


def playing(folder, text):
    clock = Clock()
    sensor = ReplaySensor(recording(folder, text), clock)
    sensor.open()
    return sensor, clock


# ---- playing


@pytest.mark.parametrize(
    ("passed_s", "watts"), [(0.0, 5.0), (0.49, 5.0), (0.5, 7.5), (1.99, 7.5), (2.0, 6.0)]
)
def test_the_last_reading_holds(tmp_path, passed_s, watts):
    sensor, clock = playing(tmp_path, WATTS)
    clock.now_s += passed_s
    reading = sensor.read()
    assert (reading.at_s, reading.watts, reading.joules) == (1000.0 + passed_s, watts, None)


def test_a_counter_stands_at_its_last_value(tmp_path):
    sensor, clock = playing(tmp_path, "at_s,joules\n0,0\n1,10\n2,30\n")
    clock.now_s += 1.5
    assert sensor.read().joules == 10.0
    assert sensor.info.kind == "counter"


def test_times_of_another_clock_are_played_from_the_first(tmp_path):
    sensor, clock = playing(tmp_path, "at_s,watts\n500,1\n501,2\n")
    assert sensor.read().watts == 1.0
    clock.now_s += 1.0
    assert sensor.read().watts == 2.0


def test_after_the_end_there_is_no_reading(tmp_path):
    sensor, clock = playing(tmp_path, WATTS)
    clock.now_s += 2.01
    with pytest.raises(MeterError, match="ended after 2 s") as caught:
        sensor.read()
    assert caught.value.fix


def test_a_break_is_told_once_even_if_its_reading_was_skipped(tmp_path):
    text = "at_s,joules,is_break\n0,0,0\n1,5,0\n2,5,1\n3,9,0\n4,12,0\n"
    sensor, clock = playing(tmp_path, text)
    told = []
    for passed_s in (0.0, 1.0, 3.5, 3.6, 4.0):  # the break at 2 s is never read itself
        clock.now_s = 1000.0 + passed_s
        told.append(sensor.read().is_break)
    assert told == [False, False, True, False, False]


def test_opening_again_plays_from_the_start(tmp_path):
    sensor, clock = playing(tmp_path, "at_s,joules,is_break\n0,5,0\n1,5,1\n2,6,0\n")
    clock.now_s += 2.0
    assert sensor.read().is_break
    sensor.close()
    sensor.close()
    with pytest.raises(MeterError, match="call open"):
        sensor.read()
    sensor.open()
    clock.now_s += 1.5
    reading = sensor.read()
    assert (reading.joules, reading.is_break) == (5.0, True)


# ---- what was recorded


def test_a_bare_recording_says_that_it_knows_little(tmp_path):
    info = playing(tmp_path, "at_s,watts\n0,1\n0.25,1\n1,2\n")[0].info
    assert (info.id, info.scope, info.kind) == ("replay", "device", "power")
    assert (info.update_s, info.averaging_s, info.resolution) == (0.75, 0.0, 0.0)
    assert math.isnan(info.rel_accuracy)
    assert "scope is not stated" in info.provenance


@pytest.mark.parametrize("text", [WATTS, "at_s,scope,watts\n0,board input,5\n1,board input,6\n"])
def test_the_scope_stands_in_a_comment_or_a_column(tmp_path, text):
    info = playing(tmp_path, text)[0].info
    assert info.scope == "board input"
    assert "not stated" not in info.provenance


def test_a_recording_plays_as_the_source_it_was_made_of(tmp_path):
    path = tmp_path / "r.csv"
    write_recording(path, [Reading(0.0, watts=1.0), Reading(1.0, watts=2.0)], INFO)
    sensor = ReplaySensor(path, Clock())
    sensor.open()
    info = sensor.info
    assert (info.scope, info.kind, info.excludes) == ("board rails", "power", ("USB", "fan"))
    assert (info.update_s, info.averaging_s, info.resolution) == (0.1, 0.02, 1e-3)
    assert info.provenance == "recording r.csv of pi-pmic; a test; made up"


def test_assumed_watts_stay_assumed(tmp_path):
    path = tmp_path / "r.csv"
    fixed = FixedSensor(12.0)
    write_recording(path, [fixed.read()], fixed.info)
    sensor = ReplaySensor(path)
    sensor.open()
    assert sensor.info.kind == "model"


# ---- writing and reading


@pytest.mark.parametrize(
    "readings",
    [
        [Reading(0.1, watts=1 / 3), Reading(12345.678901234567, watts=-0.5)],
        [
            Reading(1.0, joules=0.0, parts={"gpu-0": 0.0}),
            Reading(2.0, joules=1e-9, parts={"gpu-0": 1e-9, "a,b": 2.0}, is_break=True),
        ],
    ],
)
def test_what_is_written_is_read(tmp_path, readings):
    path = tmp_path / "r.csv"
    write_recording(path, readings, INFO)
    assert read_recording(path) == readings


def test_blank_lines_and_comments_are_skipped(tmp_path):
    path = recording(tmp_path, "\ufeff# made on a Monday\n\nat_s, watts\n0, 1\n# pause\n1, 2\n")
    assert [(r.at_s, r.watts) for r in read_recording(path)] == [(0.0, 1.0), (1.0, 2.0)]


@pytest.mark.parametrize("readings", [[], [Reading(0.0, watts=1.0), Reading(1.0, joules=1.0)]])
def test_what_cannot_be_recorded(tmp_path, readings):
    path = tmp_path / "r.csv"
    with pytest.raises(MeterError, match="watts or of joules"):
        write_recording(path, readings, INFO)
    assert not path.exists()


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(MeterError, match="cannot be written"):
        write_recording(tmp_path / "no" / "r.csv", [Reading(0.0, watts=1.0)], INFO)


# ---- what is refused


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("at_s,watts\n0,1\n1,none\n", 3, "watts is 'none'"),
        ("at_s,watts\n0,1\n1,\n", 3, "watts is ''"),
        ("at_s,watts\n0,1\n1,nan\n", 3, "watts is 'nan'"),
        ("at_s,watts\n0,1\ninf,1\n", 3, "at_s is 'inf'"),
        ("# hello\n\nat_s,watts\n0,1,2\n", 4, "3 cells, expected 2"),
        ("at_s,watts\n0,1\n1\n", 3, "1 cells, expected 2"),
        ("at_s,watts\n1,1\n1,1\n", 3, "not after 1.0"),
        ("at_s,watts\n1,1\n0.5,1\n", 3, "not after 1.0"),
        ("at_s,joules\n0,5\n1,4\n", 3, "joules fall from 5.0 to 4.0"),
        ("at_s,joules,is_break\n0,5,yes\n", 2, "is_break is 'yes'"),
        ("at_s,watts,scope\n0,5,wall\n1,5,gpu\n", 3, "scope is 'gpu', before it was 'wall'"),
        ("# scope: gpu\nat_s,watts,scope\n0,5,wall\n", 3, "before it was 'gpu'"),
        ("at_s,watts,part:a\n0,5,x\n", 2, "part:a is 'x'"),
        ('at_s,watts\n0,"1\n', 2, "end of data"),
        ("at_s\n0\n", 1, "columns are"),
        ("watts\n0\n", 1, "columns are"),
        ("at_s,watts,joules\n0,1,1\n", 1, "columns are"),
        ("at_s,watts,watts\n0,1,1\n", 1, "columns are"),
        ("at_s,watts,note\n0,1,hi\n", 1, "columns are"),
        ("0,1\n1,2\n", 1, "columns are"),
    ],
)
def test_the_line_at_fault_is_named(tmp_path, text, line, said):
    path = recording(tmp_path, text)
    with pytest.raises(MeterError) as caught:
        read_recording(path)
    assert caught.value.reason.startswith(f"{path}, line {line}: ")
    assert said in caught.value.reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no reading"),
        ("at_s,watts\n", "holds no reading"),
        ("# scope: roof\nat_s,watts\n0,1\n", "unknown scope 'roof'"),
        ("# update_s: soon\nat_s,watts\n0,1\n", "no number"),
    ],
)
def test_a_recording_that_cannot_be_played(tmp_path, text, said):
    with pytest.raises(MeterError, match=said):
        playing(tmp_path, text)


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(MeterError, match="cannot be read"):
        ReplaySensor(tmp_path / "none.csv").open()
    (tmp_path / "bytes.csv").write_bytes(b"\xff\x00")
    with pytest.raises(MeterError, match="UTF-8"):
        read_recording(tmp_path / "bytes.csv")
