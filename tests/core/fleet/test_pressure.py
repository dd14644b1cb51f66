"""Pressures of a host by hand: 0 where it is empty and cool, 1 at the limit, rising between."""

import math

import pytest

from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.fleet.pressure import NO_PRESSURE, Pressure, pressure_of, settled_share
from edgesplit.errors import ProfileError

GB = 2**30


@pytest.mark.parametrize(
    ("host", "pressure"),
    [
        (HostLoad(), NO_PRESSURE),
        (HostLoad(0.0, 0.0, 8 * GB, 8 * GB, 40.0, 85.0, False), NO_PRESSURE),
        (HostLoad(utilisation=0.1), NO_PRESSURE),
        (HostLoad(utilisation=0.4), Pressure(load=0.25)),
        (HostLoad(utilisation=0.7), Pressure(load=1.0)),
        (HostLoad(utilisation=1.0), Pressure(load=2.25)),
        # Of an M/M/1 queue: 7/3 of waiting are a utilisation of 0.7.
        (HostLoad(waiting=7 / 3), Pressure(load=1.0)),
        (HostLoad(utilisation=0.7, waiting=0.1), Pressure(load=1.0)),
        (HostLoad(utilisation=0.1, waiting=7 / 3), Pressure(load=1.0)),
        (HostLoad(temperature_c=70.0, throttles_at_c=85.0), NO_PRESSURE),
        (HostLoad(temperature_c=77.5, throttles_at_c=85.0), Pressure(temperature=0.25)),
        (HostLoad(temperature_c=85.0, throttles_at_c=85.0), Pressure(temperature=1.0)),
        (HostLoad(temperature_c=100.0, throttles_at_c=85.0), Pressure(temperature=4.0)),
        (HostLoad(temperature_c=85.0), NO_PRESSURE),
        (HostLoad(is_throttled=True), Pressure(temperature=1.5)),
        (HostLoad(temperature_c=60.0, throttles_at_c=85.0, is_throttled=True),
         Pressure(temperature=1.5)),
        (HostLoad(free_bytes=25 * GB, total_bytes=100 * GB), NO_PRESSURE),
        (HostLoad(free_bytes=16 * GB, total_bytes=100 * GB), Pressure(memory=0.25)),
        (HostLoad(free_bytes=7 * GB, total_bytes=100 * GB), Pressure(memory=1.0)),
        (HostLoad(free_bytes=7 * GB), NO_PRESSURE),
    ],
)  # fmt: skip
def test_hand_computed(host, pressure):
    found = pressure_of(host)
    assert (found.load, found.temperature, found.memory) == pytest.approx(
        (pressure.load, pressure.temperature, pressure.memory)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"utilisation": 1.1},
        {"utilisation": -0.1},
        {"utilisation": math.nan},
        {"waiting": math.inf},
        {"free_bytes": -1},
        {"total_bytes": 0},
        {"temperature_c": 5_000.0},
        {"throttles_at_c": "85"},
        {"is_throttled": 1},
    ],
)
def test_a_word_that_cannot_be_is_refused(wrong):
    with pytest.raises(ProfileError):
        HostLoad(**wrong)


@pytest.mark.parametrize("wrong", [-0.1, math.inf, math.nan, True, "1"])
def test_a_pressure_that_cannot_be_is_refused(wrong):
    with pytest.raises(ProfileError, match="pressures must be"):
        Pressure(temperature=wrong)


def test_a_change_is_believed_by_and_by_and_goes_to_0():
    pressure, full = NO_PRESSURE, Pressure(1.0, 0.5)
    for _ in range(10):
        pressure = pressure.moved(full, settled_share(1.0, 10.0))
    assert pressure.load == pytest.approx(1 - math.exp(-1.0))
    assert pressure.temperature == pytest.approx(0.5 * pressure.load)
    for _ in range(100):
        pressure = pressure.moved(NO_PRESSURE, settled_share(1.0, 10.0))
    assert pressure == NO_PRESSURE


def test_a_settling_time_of_0_believes_at_once():
    assert settled_share(0.0, 0.0) == 1.0


def test_words_name_what_presses():
    assert Pressure(0.8, 0.0, 0.104).words() == "load 0.80, memory 0.10"
    assert NO_PRESSURE.words() == ""
