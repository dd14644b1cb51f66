"""A model as the planner sees it: layers in execution order and the bytes alive at each cut."""

import hashlib
from dataclasses import dataclass

from edgesplit.core.given import is_finite, is_name
from edgesplit.errors import PlanError


@dataclass(frozen=True)
class Graph:
    """A model as the planner sees it: n layers, n + 1 cuts. Cut 0 is the input, cut n the output.

    payload_bytes[k]: bytes of all tensors that cross cut k. weight_bytes[k]: bytes of parameters
    and buffers that layer k reads. macs[k]: multiply-adds of its convolutions, products of matrices
    and attention, 0 for any other layer; empty where they are not known. All hold for one input
    signature. Raises PlanError where the lengths do not fit.

    Example:
        >>> len(Graph("two", ("conv", "linear"), (600, 128, 10), (64, 1280)))
        2
    """

    name: str
    layers: tuple[str, ...]
    payload_bytes: tuple[int, ...]
    weight_bytes: tuple[int, ...]
    macs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        columns = (self.layers, self.payload_bytes, self.weight_bytes, self.macs)
        are_tuples = all(isinstance(column, (tuple, list)) for column in columns)
        if not (are_tuples and all(map(is_name, self.layers))):
            raise PlanError(
                f"graph {self.name!r}: layers are a tuple of names, sizes of bytes, "
                f"macs of numbers, given {columns}"
            )
        n = len(self.layers)
        if n == 0:
            raise PlanError(f"graph {self.name!r} has no layers; a model needs at least one")
        if len(self.payload_bytes) != n + 1 or len(self.weight_bytes) != n:
            raise PlanError(
                f"graph {self.name!r} has {n} layers, {len(self.payload_bytes)} payload sizes and "
                f"{len(self.weight_bytes)} weight sizes; expected n, n + 1 and n"
            )
        if len(self.macs) not in (0, n):
            raise PlanError(
                f"graph {self.name!r} has {n} layers and multiply-adds of {len(self.macs)}; "
                "expected as many, or none where they are not known"
            )
        sizes = (*self.payload_bytes, *self.weight_bytes, *self.macs)
        if not all(is_finite(size) and size >= 0 for size in sizes):
            raise PlanError(f"graph {self.name!r} has a negative size or no number: {sizes}")

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
