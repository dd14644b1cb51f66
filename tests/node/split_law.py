"""The law of the house: for every cut, split output == whole output, bit for bit."""

import itertools
import random

import torch
from torch.utils import _pytree as pytree

from edgesplit.node.program.export.model import ExportedModel
from edgesplit.node.transport import tensors, wire

PAIRS = 30
MOST_CUTS = 100


def through_wire(values):
    """The payload as another process sees it."""
    specs, buffers = tensors.pack(values)
    sent = b"".join(memoryview(buffer).cast("B") for buffer in buffers if buffer.nbytes)
    wire.check_body(specs, len(sent), wire.DEFAULT_MAX_FRAME_BYTES)
    body = wire.new_body(len(sent))
    memoryview(body)[:] = sent
    return tensors.unpack(specs, body)


def same_bits(first, second):
    """Whether two trees of tensors and plain values are equal, elements and types."""
    a, tree_a = pytree.tree_flatten(first)
    b, tree_b = pytree.tree_flatten(second)
    return tree_a == tree_b and all(map(_same_leaf, a, b))


def _same_leaf(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return type(a) is type(b) and a == b


def close(first, second, tolerance=1e-5):
    """Whether every leaf differs by at most `tolerance` of the largest element."""
    pairs = zip(pytree.tree_leaves(first), pytree.tree_leaves(second), strict=True)
    return all(_close_leaf(a, b, tolerance) for a, b in pairs)


def _close_leaf(a, b, tolerance):
    if not isinstance(a, torch.Tensor):
        return a == b
    if not a.is_floating_point():
        return torch.equal(a, b)
    return bool((a - b).abs().max() <= tolerance * b.abs().max())


def broken_splits(exported: ExportedModel, args, kwargs=None):
    """The cuts, and pairs of cuts of a seeded sample, where the split result is another one.

    All prefixes come from one run layer by layer: every payload crosses a wire, so it is a split
    at every cut at once. Of a program of more than MOST_CUTS layers, the rests are a sample, too.
    """
    program, n = exported.program, len(exported.program)
    values = exported.flatten(args, kwargs)
    whole = program.segment(0, n)(values)
    payloads = [values]
    for step in program.steps():
        payloads.append(step(through_wire(payloads[-1])))

    def is_broken(payload, *cuts):
        for start, stop in itertools.pairwise([*cuts, n]):
            payload = program.segment(start, stop)(through_wire(payload))
        return not same_bits(payload, whole)

    unslotted = [] if same_bits(payloads[n], whole) else ["every cut at once"]
    cuts = [cut for cut in _some_cuts(n) if is_broken(payloads[cut], cut)]
    return unslotted + cuts + [pair for pair in _pairs(n) if is_broken(values, 0, *pair)]


def _some_cuts(n):
    return range(n) if n <= MOST_CUTS else sorted(random.Random(n).sample(range(n), MOST_CUTS))


def _pairs(n):
    draw = random.Random(n)
    return [sorted(draw.choices(range(n + 1), k=2)) for _ in range(PAIRS)]
