"""A payload as it travels over Ray, to tiers with and without torch: specs and bytes.

Between tiers payloads travel in frames (wire.py); this is for control, such as the example that a
tier is profiled with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesplit.node.transport import wire
from edgesplit.node.transport.tensor_kind import kind_here


@dataclass(frozen=True, eq=False)
class PackedPayload:
    """Tensors and plain numbers: how to read them, and the tensors' bytes one after another."""

    specs: tuple[wire.ValueSpec, ...]
    body: NDArray[np.uint8]

    def values(self) -> list[Any]:
        """The payload in memory of its own, aligned as a frame's body is.

        torch's tensors where there is torch, arrays elsewhere.
        """
        body = wire.new_body(self.body.nbytes)
        body[:] = self.body
        return kind_here().unpack(self.specs, body)


@dataclass(frozen=True, eq=False)
class PackedTrial:
    """A payload at cut 0 that a runtime is judged on, and what eager torch made of it."""

    name: str
    given: PackedPayload
    made: PackedPayload

    @property
    def n_bytes(self) -> int:
        """Of both."""
        return self.given.body.nbytes + self.made.body.nbytes


def pack_payload(values: Sequence[Any]) -> PackedPayload:
    """The payload to be sent, copied. Raises WireError for what cannot travel."""
    specs, buffers = kind_here().pack(values)
    parts = [np.frombuffer(buffer, np.uint8) for buffer in buffers if buffer.nbytes]
    return PackedPayload(tuple(specs), np.concatenate([np.empty(0, np.uint8), *parts]))
