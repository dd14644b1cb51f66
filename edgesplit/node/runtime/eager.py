"""torch: the exported graph as it is, layer after layer; others are compared with it."""

from edgesplit.node.program import Program
from edgesplit.node.segment import Segment


class EagerRuntime:
    """The layers of one program, for any payload it takes."""

    name = "torch"

    def __init__(self, program: Program) -> None:
        self._program = program

    def prepare(self, start: int, stop: int) -> Segment:
        """Layers [start, stop): 1-100 ms. The program keeps the last few. Raises PlanError."""
        return self._program.segment(start, stop)
