"""DeepThings-style: tiles cover the output, and what they take adds up."""

import pytest
from tile_cases import FAST, SLOW, plain_s, stack_of, vgg_stack

from edgesplit.core.policies.tiles.deepthings import deepthings, fused_tiles

STACK = stack_of((16, 16, 3), [(8, 3, 1, 1), (8, 2, 2, 0), (4, 3, 1, 1)], rest_macs=1000)


def test_one_device_is_plain_execution():
    for stack in (STACK, vgg_stack()):
        cost = deepthings(stack, [SLOW])
        assert cost.seconds == pytest.approx(plain_s(stack, SLOW))
        assert cost.joules == pytest.approx(plain_s(stack, SLOW) * SLOW.compute_w)
        [run] = cost.runs
        assert run.device == "pi"


def test_tiles_cover_the_output_once():
    cost = fused_tiles(STACK, [SLOW, FAST], (3, 2))
    cells = [(r, c) for run in cost.runs for r in range(*run.rows) for c in range(*run.columns)]
    assert sorted(cells) == [(r, c) for r in range(8) for c in range(8)]


def test_by_hand():
    """Two bands on two equal machines: half of the output each, with a halo of one input row."""
    stack = stack_of((8, 8, 2), [(3, 3, 1, 1)])
    cost = fused_tiles(stack, [SLOW, SLOW], (2, 1))
    half_s = stack.layers[0].macs / 2 / SLOW.macs_per_s
    moved_s = 4 * 8 * (5 * 2 + 4 * 3) / SLOW.bytes_per_s
    assert cost.seconds == pytest.approx(half_s + moved_s)
    assert cost.joules == pytest.approx(2 * half_s * 4.0 + moved_s * 1.0)


def test_fusing_computes_the_halo_again():
    deep = stack_of((16, 16, 3), [(8, 3, 1, 1)] * 6)
    whole, parts = (fused_tiles(deep, [SLOW], grid).seconds for grid in ((1, 1), (4, 4)))
    assert parts > 1.3 * whole


def test_idle_devices_steal():
    """A machine eight times as quick takes most of the tiles; the rest runs on the first one."""
    cost = fused_tiles(vgg_stack(), [SLOW, FAST], (6, 6))
    taken = [run.device for run in cost.runs]
    assert taken.count("pc") > 3 * taken.count("pi")
    assert deepthings(vgg_stack(), [SLOW, FAST]).seconds < plain_s(vgg_stack(), SLOW)


def test_only_the_first_16_layers_are_fused():
    cost = deepthings(vgg_stack(), [SLOW, FAST])
    assert {(run.start, run.stop) for run in cost.runs} == {(0, 16)}
