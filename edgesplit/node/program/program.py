"""A program: the exported model as it is shipped to and run by every tier.

It knows layers and cuts but nothing of the caller's arguments and result types; see model.py.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import torch

from edgesplit.errors import PlanError
from edgesplit.node.program.ops import draws_numbers, find_op
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.segment import Segment, Value, build_module
from edgesplit.node.program.structure import Ref, Structure, live_at_cuts, ops_of, used_weights
from edgesplit.node.program.switches import USUAL, Switches
from edgesplit.node.transport.tensor_form import SCALAR_BYTES

SEGMENTS_KEPT = 16


@dataclass(frozen=True, eq=False)
class Program:
    """Structure and weights. n layers, cuts 0..n.

    Where the program was exported, the weights are those of the model's snapshot. switches: what
    torch is set to while it runs.
    """

    structure: Structure
    weights: tuple[torch.Tensor, ...]
    switches: Switches = USUAL

    def __len__(self) -> int:
        return len(self.structure.layers)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in execution order."""
        return tuple(layer.name for layer in self.structure.layers)

    @cached_property
    def fingerprint(self) -> str:
        """Equal for two programs that compute the same from weights of the same form."""
        forms = [(w.dtype, tuple(w.shape), w.stride(), w.requires_grad) for w in self.weights]
        what = (self.structure, forms, self.switches)
        return hashlib.sha256(repr(what).encode()).hexdigest()[:16]

    @cached_property
    def weight_bytes(self) -> tuple[int, ...]:
        """Bytes of weights each layer reads; one that two layers share counts in both."""
        return tuple(
            sum(value_bytes(self.weights[index]) for index in used_weights(layer))
            for layer in self.structure.layers
        )

    @cached_property
    def _alive(self) -> tuple[tuple[int, ...], ...]:
        return live_at_cuts(self.structure)

    @cached_property
    def _segments(self) -> PreparedCache[Segment]:
        return PreparedCache(math.inf, SEGMENTS_KEPT)

    def live_values(self, cut: int) -> tuple[int, ...]:
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
        inputs = self.live_values(start)
        outputs = [Ref(number) for number in self.live_values(stop)]
        layers = self.structure.layers[start:stop]
        module = build_module(layers, inputs, outputs, self.weights)
        return Segment(start, stop, len(inputs), module, self.switches)


def is_random(program: Program) -> bool:
    """Whether two runs on the same input may differ."""
    ops = ops_of(program.structure)
    return any(draws_numbers(find_op(op.target), op.args, op.kwargs) for op in ops)


def value_bytes(value: Value) -> int:
    """Bytes of one value of a payload: its elements, or 8 for a plain number."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return SCALAR_BYTES
