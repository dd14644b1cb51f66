"""A program together with what its payloads look like, for one input signature."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx

from edgesplit.errors import PlanError
from edgesplit.node.program.program import Program
from edgesplit.node.program.segment import build_module
from edgesplit.node.program.structure import Layer, Ref, used_weights
from edgesplit.node.transport.tensor_form import Forms


@dataclass(frozen=True, eq=False)
class ShapedProgram:
    """A program, and what its payload looks like at each cut 0..n."""

    program: Program
    forms: Sequence[Forms]

    def layers(self, start: int, stop: int) -> tuple[Layer, ...]:
        """Layers [start, stop). Raises PlanError for a range that is none of the program's."""
        if not 0 <= start <= stop <= len(self.program):
            n = len(self.program)
            raise PlanError(f"no layers {start}-{stop}; this program has layers 0-{n}")
        return self.program.structure.layers[start:stop]

    def made(self, start: int, stop: int) -> tuple[int, ...]:
        """Numbers of the values alive at `stop` that layers [start, stop) make."""
        given = self.program.live_values(start)
        return tuple(number for number in self.program.live_values(stop) if number not in given)

    def module(
        self, bounds: tuple[int, int], layers: Sequence[Layer], weights: Sequence[torch.Tensor]
    ) -> fx.GraphModule:
        """`layers`, in place of those in the range, as a module that returns what they make."""
        outputs = [Ref(number) for number in self.made(*bounds)]
        return build_module(layers, self.program.live_values(bounds[0]), outputs, weights)

    def weights_read(self, start: int, stop: int) -> frozenset[int]:
        """Positions of the weights that layers [start, stop) read."""
        return frozenset[int]().union(*map(used_weights, self.layers(start, stop)))
