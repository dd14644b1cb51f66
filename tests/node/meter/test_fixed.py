"""Assumed watts: the same at every moment, and never told as measured."""

import math

import pytest

from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor.fixed import FixedSensor


def test_the_same_watts_at_every_moment():
    sensor = FixedSensor(12.0, clock=iter([5.0, 9.0]).__next__)
    sensor.open()
    readings = [sensor.read(), sensor.read()]
    sensor.close()
    assert [(r.at_s, r.watts, r.joules) for r in readings] == [(5.0, 12.0, None), (9.0, 12.0, None)]


def test_it_is_a_model_of_a_whole_device():
    info = FixedSensor(12.0).info
    assert (info.id, info.scope, info.kind) == ("fixed", "device", "model")
    assert not info.is_measured
    assert math.isnan(info.rel_accuracy)
    assert "the device is assumed to draw 12 W" in info.provenance
    assert "2605.09623" in info.provenance


def test_no_watts_are_watts():
    assert FixedSensor(0.0).read().watts == 0.0


@pytest.mark.parametrize("watts", [-0.1, math.nan, math.inf])
def test_watts_that_cannot_be(watts):
    with pytest.raises(MeterError, match=str(watts)):
        FixedSensor(watts)
