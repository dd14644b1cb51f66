"""EdgeCI-style: its dynamic program against every fusing, its auction against every dealing out."""

from itertools import pairwise, product

import pytest
from tile_cases import FAST, SLOW, plain_s, random_devices, random_stack, vgg_stack

from edgesplit.core.policies.tiles.edgeci import auction, blocks_to, edgeci, fuse


def block_of(stack, devices, start, stop):
    return next(one for one in blocks_to(stack, devices, stop) if one.start == start)


def every_fusing(n):
    """Edges of blocks, of all ways to cut n layers."""
    for cuts in product((False, True), repeat=n - 1):
        yield [0, *(at for at, is_cut in enumerate(cuts, 1) if is_cut), n]


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_other_fusing_is_quicker(seed, count):
    stack, devices = random_stack(seed), random_devices(seed, count)
    blocks = fuse(stack, devices)
    assert [blocks[0].start, *(block.stop for block in blocks)] in list(every_fusing(5))
    seconds = [
        sum(block_of(stack, devices, a, b).seconds for a, b in pairwise(edges))
        for edges in every_fusing(5)
    ]
    assert sum(block.seconds for block in blocks) == pytest.approx(min(seconds))


@pytest.mark.parametrize("seed", range(10))
def test_one_device_is_plain_execution(seed):
    """Of windows that leave no row over; others need not compute all that plain execution does."""
    stack, [device] = random_stack(seed, most_stride=1), random_devices(seed, 1)
    cost = edgeci(stack, [device])
    assert cost.seconds == pytest.approx(plain_s(stack, device))
    assert cost.joules == pytest.approx(plain_s(stack, device) * device.compute_w)


def test_rows_are_dealt_out_once():
    for block in fuse(vgg_stack(), [SLOW, FAST, SLOW]):
        rows = [row for _, span in block.rows for row in range(*span)]
        assert rows == list(range(vgg_stack().maps[block.stop].height))


@pytest.mark.parametrize("seed", range(15))
def test_a_block_takes_what_its_rows_take(seed):
    """By the halo of each run of rows, layer by layer; nothing is moved to the first device."""
    stack, devices = random_stack(seed), random_devices(seed, 3)
    for stop in range(1, 6):
        for block in blocks_to(stack, devices, stop):
            whole = [(0, m.width) for m in stack.maps[block.start : stop + 1]]
            seconds = [0.0] * 3
            for k, span in block.rows:
                rows = stack.rows_back(span, block.start, stop)
                seconds[k] += stack.tile_macs(rows, whole, block.start) / devices[k].macs_per_s
                moved = stack.maps[block.start].part_bytes(rows[0], whole[0])
                moved += stack.maps[stop].part_bytes(span, whole[-1])
                seconds[k] += moved / devices[k].bytes_per_s if k else 0.0
            assert [one.total_s for one in block.spent] == pytest.approx(seconds)
            assert block.seconds == max(one.total_s for one in block.spent)


def test_more_devices_are_no_slower_than_one():
    alone = edgeci(vgg_stack(), [SLOW]).seconds
    assert edgeci(vgg_stack(), [SLOW, FAST, SLOW]).seconds < alone


@pytest.mark.parametrize("seed", range(20))
def test_the_auction_comes_near_the_best(seed):
    """At most 1.5 times the least makespan over all dealings out, mostly at it."""
    stack, devices = random_stack(seed), random_devices(seed, 3)
    spans = [[1.0 / d.macs_per_s + p / d.bytes_per_s for d in devices] for p in range(6)]
    assert len(stack) == 5
    found = makespan(spans, auction(spans))
    best = min(makespan(spans, winners) for winners in product(range(3), repeat=6))
    assert best <= found <= 1.5 * best


def makespan(seconds, winners):
    return max(
        sum(row[k] for row, won in zip(seconds, winners, strict=True) if won == k)
        for k in range(len(seconds[0]))
    )


def test_a_link_too_slow_leaves_all_at_home():
    far = random_devices(0, 1)[0]
    stack = random_stack(3)
    slow = [SLOW, type(far)("far", 1e12, 1.0)]
    assert {run.device for run in edgeci(stack, slow).runs} == {"pi"}
    assert edgeci(stack, slow).seconds == pytest.approx(plain_s(stack, SLOW))
