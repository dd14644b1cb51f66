"""The measure of exactness: what counts as different, and how much."""

import math

import numpy as np
import pytest
import torch

from edgesplit.node.runtime.check import compare, eligible

NAN, INF = math.nan, math.inf


def error(made, expected):
    """compare() on payloads that are given."""
    return compare(lambda _: made, lambda _: expected, [])


def f32(*numbers):
    return torch.tensor(numbers)


@pytest.mark.parametrize(
    ("made", "expected", "wanted"),
    [
        ([], [], 0.0),
        ([f32(1.0, 2.0)], [f32(1.0, 2.0)], 0.0),
        ([f32(1.0, 2.0)], [f32(1.0, 4.0)], 0.5),
        ([f32(1.0, -4.0), f32(1.0)], [f32(2.0, -4.0), f32(2.0)], 0.5),
        ([f32(0.0)], [f32(-0.0)], 0.0),
        ([f32(1e-30)], [f32(0.0)], INF),
        ([f32()], [f32()], 0.0),
        ([f32(NAN, INF, 1.0)], [f32(NAN, INF, 2.0)], 0.5),
        ([f32(NAN, 1.0)], [f32(1.0, 1.0)], INF),
        ([f32(1.0, 1.0)], [f32(NAN, 1.0)], INF),
        ([f32(INF)], [f32(-INF)], INF),
        ([f32(1.0)], [f32(1.0), f32(1.0)], INF),
        ([torch.tensor([1, 2])], [torch.tensor([1, 2])], 0.0),
        ([torch.tensor([1, 2])], [torch.tensor([1, 3])], INF),
        ([torch.tensor([True])], [torch.tensor([False])], INF),
        ([3], [3], 0.0),
        ([3], [4], INF),
        ([1], [True], INF),
        ([f32(1.0)], [f32(1.0).double()], INF),
        ([f32(1.0)], [f32(1.0).reshape(1, 1)], INF),
        ([f32(1.0).numpy()], [f32(1.0)], INF),
        ([torch.zeros(2, 3)], [torch.zeros(3, 2).t()], INF),
        ([torch.zeros(3, 1)], [torch.zeros(1, 3).t()], 0.0),
        ([f32(1.0).bfloat16()], [f32(2.0).bfloat16()], 0.5),
        ([torch.tensor([1j])], [torch.tensor([2j])], 0.5),
    ],
)
def test_compare(made, expected, wanted):
    assert error(made, expected) == wanted
    if all(isinstance(v, torch.Tensor) and v.dtype != torch.bfloat16 for v in made + expected):
        assert error([v.numpy() for v in made], [v.numpy() for v in expected]) == wanted


def test_small_differences_are_not_lost():
    x = np.ones(3, np.float32)
    y = np.nextafter(x, 2, dtype=np.float32)
    assert error([y], [x]) == pytest.approx(2.0**-23)


@pytest.mark.parametrize(
    ("size", "tolerance", "exact", "expected"),
    [
        (0.0, 1e-4, False, True),
        (1e-4, 1e-4, False, True),
        (1.1e-4, 1e-4, False, False),
        (INF, 1e-4, False, False),
        (NAN, 1e-4, False, False),
        (0.0, 1e-4, True, True),
        (1e-9, 1e-4, True, False),
    ],
)
def test_eligible(size, tolerance, exact, expected):
    assert eligible(size, tolerance, exact) is expected
