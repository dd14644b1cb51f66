"""A program: the exported model as it is shipped to and run by every tier.

It knows layers and cuts but nothing of the caller's arguments and result types; see model.py.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import torch

from edgesplit.errors import PlanError
from edgesplit.node.form import SCALAR_BYTES
from edgesplit.node.ops import draws_numbers, find_op
from edgesplit.node.runtime.cache import PreparedCache
from edgesplit.node.segment import Segment, Value, build_module
from edgesplit.node.structure import Ref, Structure, alive_at_cuts, used_weights

SEGMENTS_KEPT = 16


@dataclass(frozen=True, eq=False)
class Program:
    """Structure and weights. n layers, cuts 0..n.

    The weights are the caller's own tensors where the program was exported: changing them there
    afterwards changes this program but none that was shipped.
    """

    structure: Structure
    weights: tuple[torch.Tensor, ...]

    def __len__(self) -> int:
        return len(self.structure.layers)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in execution order."""
        return tuple(layer.name for layer in self.structure.layers)

    @cached_property
    def fingerprint(self) -> str:
        """Equal for two programs that compute the same from weights of the same form."""
        forms = [(w.dtype, tuple(w.shape), w.stride()) for w in self.weights]
        return hashlib.sha256(repr((self.structure, forms)).encode()).hexdigest()[:16]

    @cached_property
    def weight_bytes(self) -> tuple[int, ...]:
        """Bytes of weights each layer reads; one that two layers share counts in both."""
        return tuple(
            sum(value_bytes(self.weights[index]) for index in used_weights(layer))
            for layer in self.structure.layers
        )

    @cached_property
    def _alive(self) -> tuple[tuple[int, ...], ...]:
        return alive_at_cuts(self.structure)

    @cached_property
    def _segments(self) -> PreparedCache[Segment]:
        return PreparedCache(math.inf, SEGMENTS_KEPT)

    def alive(self, cut: int) -> tuple[int, ...]:
        """Numbers of the values in the payload at `cut`, in the payload's order."""
        return self._alive[cut]

    def segment(self, start: int, stop: int) -> Segment:
        """Layers [start, stop), cached. An empty range passes the payload through.

        Raises PlanError for a range that is none of this program's.
        """
        if not 0 <= start <= stop <= len(self):
            raise PlanError(f"no layers {start}-{stop}; this program has layers 0-{len(self)}")
        return self._segments.get((start, stop), lambda: self._build(start, stop))

    def steps(self) -> tuple[Segment, ...]:
        """Every layer as a segment of its own, built anew: for measuring, then to be dropped."""
        return tuple(self._build(k, k + 1) for k in range(len(self)))

    def _build(self, start: int, stop: int) -> Segment:
        inputs = self.alive(start)
        outputs = [Ref(number) for number in self.alive(stop)]
        layers = self.structure.layers[start:stop]
        module = build_module(layers, inputs, outputs, self.weights)
        return Segment(start, stop, len(inputs), module)


def is_random(program: Program) -> bool:
    """Whether two runs on the same input may differ."""
    ops = (op for layer in program.structure.layers for op in layer.ops)
    return any(draws_numbers(find_op(op.target)) for op in ops)


def value_bytes(value: Value) -> int:
    """Bytes of one value of a payload: its elements, or 8 for a plain number."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return SCALAR_BYTES
