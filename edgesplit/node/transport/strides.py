"""Where a tensor's elements lie in memory, from shape and strides alone, all in elements.

Kernels round by how their inputs lie, so a payload arrives with the strides it was sent with. Only
elements travel, each once: no gaps between them, no repetitions of an expanded dimension.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Places:
    """What of a tensor travels, and the memory that it takes.

    shape: as the tensor's, 1 where it is expanded. packed: strides under which those elements lie
    one after another, in the order of the tensor's memory; None: that memory itself travels, as it
    is dense or its elements overlap. count: elements that travel. reach: from first to last place.
    """

    shape: tuple[int, ...]
    packed: tuple[int, ...] | None
    count: int
    reach: int


def places(shape: Sequence[int], strides: Sequence[int]) -> Places:
    """Those of a tensor of that shape with these strides >= 0."""
    own = tuple(
        size if stride else min(size, 1) for size, stride in zip(shape, strides, strict=True)
    )
    reach = sum((size - 1) * stride for size, stride in zip(own, strides, strict=True)) + 1
    count = math.prod(own)
    if not count or reach <= count:
        return Places(own, None, min(count, reach), reach if count else 0)
    if _overlaps(own, strides):
        return Places(own, None, reach, reach)
    return Places(own, dense_strides(own, outermost_first(own, strides)), count, reach)


def is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether each element has a place of its own and no place is left over."""
    expected = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def outermost_first(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """The dimensions in the order of memory; of two with one stride the larger one comes first."""
    return tuple(sorted(range(len(shape)), key=lambda dim: (-strides[dim], -shape[dim])))


def dense_strides(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Of dense memory with its dimensions in that order, outermost first."""
    strides, step = [0] * len(order), 1
    for dim in reversed(order):
        strides[dim] = step
        step *= max(1, shape[dim])
    return tuple(strides)


def _overlaps(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether two elements may share a place; it errs towards yes."""
    reach = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size > 1 and stride < reach:
            return True
        reach += (size - 1) * stride
    return False


@dataclass(frozen=True)
class MemoryOrder:
    """How a tensor lies, whatever its sizes: its dimensions in memory, outermost first.

    fixed: (dimension, stride) where the stride does not follow from the sizes further in: the
    slice of a larger tensor, an expanded dimension.
    """

    order: tuple[int, ...]
    fixed: tuple[tuple[int, int], ...] = ()

    def strides(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Those of a tensor of that shape that lies so."""
        given, strides, step = dict(self.fixed), [0] * len(self.order), 1
        for dim in reversed(self.order):
            strides[dim] = given.get(dim, step)
            if shape[dim] > 1 or dim not in given:
                step = max(step, strides[dim] * max(1, shape[dim]))
        return tuple(strides)


def memory_order_of(shape: Sequence[int], strides: Sequence[int]) -> MemoryOrder:
    """The layout of a tensor of that shape with these strides."""
    order, fixed = outermost_first(shape, strides), dict[int, int]()
    for dim in reversed(order):
        if MemoryOrder(order, tuple(fixed.items())).strides(shape)[dim] != strides[dim]:
            fixed[dim] = strides[dim]
    return MemoryOrder(order, tuple(sorted(fixed.items())))
