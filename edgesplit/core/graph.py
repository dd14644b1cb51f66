"""A model as the planner sees it: layers in execution order and the bytes alive at each cut."""

import hashlib
from dataclasses import dataclass

from edgesplit.errors import PlanError


@dataclass(frozen=True)
class Graph:
    """n layers and n + 1 cuts. Cut 0 is the raw input, cut n the output.

    payload_bytes[k] counts every tensor alive at cut k; weight_bytes[k] what layer k reads of
    parameters and buffers. Both are in bytes and for one input signature.
    """

    name: str
    layers: tuple[str, ...]
    payload_bytes: tuple[int, ...]
    weight_bytes: tuple[int, ...]

    def __post_init__(self) -> None:
        n = len(self.layers)
        if n == 0:
            raise PlanError(f"graph {self.name!r} has no layers; a model needs at least one")
        if len(self.payload_bytes) != n + 1 or len(self.weight_bytes) != n:
            raise PlanError(
                f"graph {self.name!r} has {n} layers, {len(self.payload_bytes)} payload sizes and "
                f"{len(self.weight_bytes)} weight sizes; expected n, n + 1 and n"
            )
        if min(self.payload_bytes) < 0 or min(self.weight_bytes) < 0:
            raise PlanError(f"graph {self.name!r} has a negative size")

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def output_bytes(self) -> int:
        """Bytes of the model's answer, which travels back along the route."""
        return self.payload_bytes[-1]

    @property
    def fingerprint(self) -> str:
        """Equal for two graphs with the same layers in the same order, whatever the batch size."""
        return hashlib.sha256("\n".join(self.layers).encode()).hexdigest()[:16]
