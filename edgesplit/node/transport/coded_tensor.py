"""A tensor of a payload as a codec has written it: what frames carry, and relays pass on untouched.

Encoding and decoding are node/codec/'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.node.transport import wire
from edgesplit.node.transport.coded_size import CodedBytes

Unpack = Callable[[Sequence[wire.ValueSpec], Any], list[Any]]


@dataclass(frozen=True, eq=False)
class CodedTensor:
    """Bytes in a codec, and the tensor that they stand for. buffer: flat, not to be changed.

    unpack: of the kind of tensors that it is to become; see tensor_kind.py.
    """

    codec: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    buffer: CodedBytes
    unpack: Unpack

    @property
    def spec(self) -> wire.TensorSpec:
        """As a frame's header has it."""
        shape, strides = list(self.shape), list(self.strides)
        return wire.TensorSpec(self.dtype, shape, strides, self.codec, self.buffer.nbytes)

    @property
    def plain_spec(self) -> wire.TensorSpec:
        """Of the tensor that it stands for."""
        return wire.TensorSpec(self.dtype, list(self.shape), list(self.strides))


def coded_view(body: CodedBytes, at: int, spec: wire.TensorSpec, unpack: Unpack) -> Any:
    """What lies in a checked body from byte `at` on; a view of it."""
    buffer = body[at : at + spec.coded_bytes]
    shape, strides = tuple(spec.shape), tuple(spec.strides)
    return CodedTensor(spec.codec, spec.dtype, shape, strides, buffer, unpack)
