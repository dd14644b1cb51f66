"""Which inputs a tile needs, against a trace of every index; and multiply-adds that add up."""

import numpy as np
import pytest
from tile_cases import random_stack, stack_of, vgg_stack

from edgesplit.core.policies.tiles.conv_stack import ConvStack, WindowLayer, even_spans
from edgesplit.errors import PlanError


def traced(stack, rows, start, stop):
    """Rows of the input of layer `start` that reach any of `rows` behind stop - 1, one by one."""
    reached = set(range(*rows))
    for at in range(stop - 1, start - 1, -1):
        layer, height = stack.layers[at], stack.maps[at].height
        taps = range(layer.kernel)
        found = {row * layer.stride - layer.padding + tap for row in reached for tap in taps}
        reached = {row for row in found if 0 <= row < height}
    return reached


@pytest.mark.parametrize("seed", range(40))
def test_what_is_needed_is_what_reaches(seed):
    stack = random_stack(seed)
    generator = np.random.default_rng(seed)
    for _ in range(10):
        start, stop = sorted(generator.choice(len(stack) + 1, 2, replace=False).tolist())
        height = stack.maps[stop].height
        first, last = sorted(generator.choice(height + 1, 2, replace=False).tolist())
        needed = stack.rows_back((first, last), start, stop)
        reached = traced(stack, (first, last), start, stop)
        assert len(needed) == stop - start + 1
        assert needed[-1] == (first, last)
        assert needed[0] == (min(reached), max(reached) + 1)


@pytest.mark.parametrize("seed", range(10))
def test_columns_are_as_rows(seed):
    stack = random_stack(seed)
    turned = ConvStack("turned", stack.width, stack.height, stack.channels, stack.layers)
    width = stack.maps[-1].width
    assert stack.columns_back((1, width), 0, 5) == turned.rows_back((1, width), 0, 5)


def test_sizes_are_those_of_vgg16():
    maps = vgg_stack().maps
    assert (maps[3].height, maps[3].channels) == (112, 64)
    assert (maps[-1].height, maps[-1].width, maps[-1].channels) == (7, 7, 512)
    assert sum(layer.macs for layer in vgg_stack().layers) == pytest.approx(15.35e9, rel=0.01)


@pytest.mark.parametrize("seed", range(10))
def test_the_whole_map_needs_all_multiply_adds(seed):
    stack = random_stack(seed)
    made = stack.maps[-1]
    whole = [(0, m.height) for m in stack.maps], [(0, m.width) for m in stack.maps]
    macs = sum(layer.macs for layer in stack.layers)
    assert stack.tile_macs(*whole, 0) == pytest.approx(macs)
    parts = [
        stack.tile_macs(stack.rows_back(rows, 0, 5), stack.columns_back(columns, 0, 5), 0)
        for rows in even_spans(made.height, 3)
        for columns in even_spans(made.width, 2)
    ]
    assert sum(parts) >= max(parts)
    last = stack.layers[-1].macs
    ends = [
        stack.tile_macs(stack.rows_back(rows, 4, 5), [(0, m.width) for m in stack.maps[4:]], 4)
        for rows in even_spans(made.height, 3)
    ]
    assert sum(ends) == pytest.approx(last)


def test_bytes():
    stack = stack_of((8, 6, 3), [(4, 3, 1, 1)])
    assert stack.maps[0].row_bytes == 4 * 6 * 3
    assert stack.maps[1].part_bytes((0, 2), (1, 4)) == 4 * 4 * 2 * 3


@pytest.mark.parametrize(
    ("size", "parts", "spans"),
    [
        (10, 3, [(0, 4), (4, 8), (8, 10)]),
        (2, 5, [(0, 1), (1, 2)]),
        (7, 1, [(0, 7)]),
        (9, 6, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9)]),
    ],
)
def test_even_spans(size, parts, spans):
    assert even_spans(size, parts) == spans


def test_what_cannot_be():
    with pytest.raises(PlanError, match="padding is less than the kernel"):
        WindowLayer("conv", 4, 3, 1, 3, 10)
    with pytest.raises(PlanError, match="expected layers that leave something of 2 x 2"):
        stack_of((2, 2, 1), [(1, 3, 1, 0)])
    with pytest.raises(PlanError, match="expected layers"):
        ConvStack("none", 8, 8, 3, ())
