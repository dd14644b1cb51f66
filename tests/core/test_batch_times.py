"""How many requests to run at once, from measured seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesplit.core.batch_times import MARGIN, BatchTimes
from edgesplit.errors import ProfileError

# Milliseconds per request as they were measured of whole models, batches of 1, 4 and 16.
TABLE = [
    ("torch, MobileNetV2", (48.2, 41.1, 56.1), {1: 1, 3: 1, 4: 4, 15: 4, 16: 4, 99: 4}),
    ("torch, AlexNet", (46.5, 30.7, 22.1), {2: 1, 3: 3, 4: 4, 5: 4, 11: 4, 12: 12, 16: 16, 64: 16}),
    ("torch, ResNet-18", (91.4, 69.8, 67.6), {3: 1, 4: 4, 15: 4, 16: 16}),
    ("onnx, MobileNetV2", (11.6, 12.1, 12.5), {2: 1, 16: 1}),
    ("onnx, AlexNet", (34.7, 19.6, 15.1), {2: 1, 3: 3, 4: 4, 12: 4, 13: 13, 16: 16}),
    ("onnx, ResNet-18", (32.8, 35.9, 42.9), {4: 1, 16: 1}),
]


def times_of(each_ms, sizes=(1, 4, 16)):
    return BatchTimes(
        tuple((size, size * ms / 1000) for size, ms in zip(sizes, each_ms, strict=True))
    )


@pytest.mark.parametrize(("name", "each_ms", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_best_of_measured_models(name, each_ms, expected):
    times = times_of(each_ms)
    assert {waiting: times.best(waiting) for waiting in expected} == expected
    assert times.most == expected[max(expected)]


def test_seconds_between_two_measured_numbers_are_the_larger_ones():
    times = BatchTimes(((1, 1.0), (2, 1.5), (4, 2.0)))
    assert [times.seconds(n) for n in (1, 2, 3, 4)] == [1.0, 1.5, 2.0, 2.0]
    assert [times.scaled(3).seconds(n) for n in (1, 3)] == [3.0, 6.0]


@pytest.mark.parametrize("gain", [0.0, MARGIN - 1e-9])
def test_a_gain_within_the_margin_is_none(gain):
    times = BatchTimes(((1, 1.0), (2, 2 * (1 - gain))))
    assert (times.best(2), times.total_s(2)) == (1, 2.0)
    assert BatchTimes(((1, 1.0), (2, 2 * (1 - MARGIN) - 1e-6))).best(2) == 2


@st.composite
def measured(draw):
    sizes = [1, *sorted(draw(st.sets(st.integers(2, 9), max_size=4)))]
    return BatchTimes(tuple((size, draw(st.floats(0.01, 10))) for size in sizes))


def upper_s(times, requests):
    """Of the next larger number that was measured."""
    return next(seconds for size, seconds in times.measured if size >= requests)


@given(measured(), st.integers(1, 12))
def test_best_is_the_least_of_all_numbers(times, waiting):
    each = {n: upper_s(times, n) / n for n in range(1, min(waiting, times.largest) + 1)}
    best = times.best(waiting)
    if best == 1:
        assert all(each[n] >= (1 - MARGIN) * each[1] for n in each if n > 1)
    else:
        assert each[best] == min(each.values()) < (1 - MARGIN) * each[1]
        assert all(each[n] > each[best] for n in range(1, best))


def partitions(n, largest):
    if n == 0:
        yield ()
    for size in range(1, min(n, largest) + 1):
        yield from ((size, *rest) for rest in partitions(n - size, size))


@given(measured(), st.integers(0, 9))
def test_total_is_the_least_of_all_ways_to_share_runs(times, requests):
    able = [
        sizes
        for sizes in partitions(requests, times.largest)
        if all(size == 1 or times.pays(size) for size in sizes)
    ]
    least = min(sum(upper_s(times, size) for size in sizes) for sizes in able)
    assert times.total_s(requests) == pytest.approx(least)


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ((2, 1.0),),
        ((1, 1.0), (1, 2.0)),
        ((1, 0.0),),
        ((1, float("nan")),),
        ((1, 1.0), (4, 2.0), (2, 1.0)),
    ],
)
def test_what_is_no_measurement(wrong):
    with pytest.raises(ProfileError, match=r"1 request|more than 0 s"):
        BatchTimes(wrong)


@pytest.mark.parametrize("requests", [0, 3])
def test_numbers_that_were_not_measured(requests):
    with pytest.raises(ProfileError, match=f"1 to 2 requests at once, given {requests}"):
        BatchTimes(((1, 1.0), (2, 1.5))).seconds(requests)
