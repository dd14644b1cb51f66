"""What executes a range of layers: the interface, and what every runtime promises.

A prepared range takes the payload at its first cut and gives the payload at its last one: values
of the dtype, shape and strides that eager torch would give, since later layers have views baked in
for that layout. Whether it also gives the same numbers is for check.py. No torch is imported here.
"""

from collections.abc import Sequence
from typing import Any, Protocol


class Prepared(Protocol):
    """Layers [start, stop), ready to run; may be called by one thread at a time."""

    @property
    def n_bytes(self) -> int:
        """Memory of its own in bytes, beside the program's weights; each runtime says how known."""

    def __call__(self, values: Sequence[Any], /) -> list[Any]:
        """The payload at `stop`; values that only pass through are the same objects.

        Raises RequestError for a payload of another cut, RuntimeUnavailableError for values that
        this range was not prepared for.
        """


class Runtime(Protocol):
    """One way to execute the layers of one program."""

    @property
    def name(self) -> str:
        """As plans name it: torch, torch-channels-last, onnx, onnx-int8, compile, cuda."""

    def prepare(self, start: int, stop: int) -> Prepared:
        """Layers [start, stop), built anew; slow (seconds), from any thread, off the data path.

        Raises RuntimeUnavailableError where they cannot be run this way, PlanError for a range
        that is none of the program's.
        """


class JointRuntime(Runtime, Protocol):
    """One that may also run a range for several requests at once; batch_bench.py judges them."""

    def prepare_batched(self, start: int, stop: int, axes: Sequence[int | None]) -> Prepared:
        """The same for payloads of several requests side by side, of any number of them.

        axes: per value at `start`, the dimension along which they lie; None: all have that value.
        What comes out may lie in memory in another way than eager torch leaves it.
        """
