"""Frames of the data plane: a small typed header and raw tensor bytes. No pickle, nothing executed.

One frame is prefix, header, body. The prefix holds a magic, a version byte and the two lengths, so
that a frame can be judged before any of it is taken in. The header is msgpack; every field is
validated before any is used. The body is the tensors' memory one after another, each padded to 64
bytes; tensors travel with shape, dtype and strides (strides.py), as they are or in a payload codec
(coded_size.py).
"""

import math
import struct
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from edgesplit.core.layer_times import TORCH
from edgesplit.core.payload_codec import AS_IS
from edgesplit.core.printable import printable
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import WireError
from edgesplit.node.transport.coded_size import CodedForm
from edgesplit.node.transport.strides import is_dense, places

MAGIC = b"ESP"
VERSION = 5
DEFAULT_MAX_FRAME_BYTES = 1 << 28  # 256 MiB: 80 times VGG-16's largest payload at batch 1
MAX_VALUES = 4096
MAX_HEADER_BYTES = 1 << 20
_SHOWN_CHARACTERS = 2000  # of a peer's text
LONGEST_TIMEOUT_S = 1e6  # some eleven days
_LONGEST_FRAME_S, _SLOWEST_BYTES_PER_S = 60.0, 1 << 16  # of a link that is borne
ALIGNMENT = 64  # bytes; every tensor begins at a multiple of it in the body
ZEROS = memoryview(bytes(ALIGNMENT))
_PREFIX = struct.Struct("<3sBIQ")  # magic, version, bytes of header, bytes of body
PREFIX_BYTES = _PREFIX.size

# Bytes of an element of each dtype that travels, by torch's name.
ITEM_BYTES = {
    **{"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8},
    **{"float8_e4m3fn": 1, "float8_e5m2": 1, "bool": 1},
    **{"int8": 1, "int16": 2, "int32": 4, "int64": 8},
    **{"uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8},
    **{"complex32": 4, "complex64": 8, "complex128": 16},
}
_ADDRESSABLE_BYTES = 1 << 62

Name = Annotated[str, msgspec.Meta(max_length=128)]
Size = Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]
Dims = Annotated[list[Size], msgspec.Meta(max_length=32)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=2 * LONGEST_TIMEOUT_S)]


class TensorSpec(msgspec.Struct, frozen=True, array_like=True):
    """How to read one buffer: dtype name, shape, strides (in elements). See strides.py.

    codec: that it is written in, and the bytes that this has made; 0 for a tensor as it is.
    """

    dtype: Name
    shape: Dims
    strides: Dims
    codec: Name = AS_IS
    coded_bytes: Size = 0


ValueSpec = TensorSpec | bool | int | float


class Hedge(msgspec.Struct, frozen=True, array_like=True):
    """When a tier runs the rest itself while it waits for the next one: core's HedgeRule."""

    rest_s: Seconds
    answer_s: Seconds
    price_s: Seconds
    sending: Seconds
    limit_s: Seconds


class Hop(msgspec.Struct, frozen=True, array_like=True):
    """One stage of the route with the address that runs it.

    failover_after_s: how long its tier goes without a sign of life from the next one before it runs
    the rest itself; 0: it never does. hedge: when it does so beside the next one; None: never.
    codec: how its tier writes the payload for the next one.
    """

    tier: Name
    address: Annotated[str, msgspec.Meta(max_length=256)]
    start: Size
    stop: Size
    runtime: Name = TORCH
    failover_after_s: Seconds = 0.0
    hedge: Hedge | None = None
    codec: Name = AS_IS


class Request(msgspec.Struct, frozen=True, tag="request", kw_only=True):
    """Run route[at] on the values and send them on. timeout_s: what is left of the time limit."""

    id: Name
    program: Name
    route: Annotated[list[Hop], msgspec.Meta(min_length=1, max_length=64)]
    at: Size
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_TIMEOUT_S)]
    values: Annotated[list[ValueSpec], msgspec.Meta(max_length=MAX_VALUES)]


class Reply(msgspec.Struct, frozen=True, tag="reply", kw_only=True):
    """The model's outputs and one timing per tier from the replying one to the last, in order."""

    id: Name
    values: Annotated[list[ValueSpec], msgspec.Meta(max_length=MAX_VALUES)]
    timings: Annotated[list[TierTiming], msgspec.Meta(max_length=64)]


class Refusal(msgspec.Struct, frozen=True, tag="refusal", kw_only=True):
    """Why a frame was not served. id is empty where it could not be read.

    reason: `failed` is the model's own error on this input; `busy` passes; `timeout` and `gone` say
    that nobody waits any more; with the others another tier can still do it: RECOVERABLE_REASONS.
    One that is received has a reason of these, and its texts are printable.
    """

    id: Name
    tier: Name
    reason: str
    message: str


RECOVERABLE_REASONS = frozenset({"unknown", "unable", "unreachable", "silent", "malformed"})
LATE = "late"  # no refusal's: why a tier that hedged has run the rest
_REASONS = RECOVERABLE_REASONS | {"failed", "busy", "timeout", "gone"}


class Probe(msgspec.Struct, frozen=True, tag="probe", kw_only=True):
    """Answer with an Echo at once; the body behind it is ballast. sender: the asking tier."""

    id: Name
    sender: Name


class Echo(msgspec.Struct, frozen=True, tag="echo", kw_only=True):
    """The answer to a Probe."""

    id: Name


class Cancel(msgspec.Struct, frozen=True, tag="cancel", kw_only=True):
    """Nobody waits for that request any more. It is told along the route; nothing answers it."""

    id: Name


class TransferProgress(msgspec.Struct, frozen=True, tag="progress", kw_only=True):
    """How a request is doing, told back along its route while its answer takes long.

    source, target: of a payload that is being sent on; sent_bytes of it left within moving_s, the
    longest pause left out. is_over: no more of it will leave; moving_s are all of its seconds then.
    expected_s: until the answer, as the source expects it.
    """

    id: Name
    source: Name
    target: Name
    sent_bytes: Size
    moving_s: Seconds
    expected_s: Seconds
    is_over: bool = False


Message = Request | Reply | Refusal | Probe | Echo | Cancel | TransferProgress
Buffer = Any  # flat memory with nbytes: a numpy array or a memoryview

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message, body_bytes: int = 0) -> bytes:
    """Prefix and header of `message`; a body of that many bytes is to follow."""
    header = _encoder.encode(message)
    return _PREFIX.pack(MAGIC, VERSION, len(header), body_bytes) + header


def read_prefix(prefix: Buffer, max_frame_bytes: int) -> tuple[int, int]:
    """Bytes of header and of body that follow. Raises WireError for what cannot be taken in."""
    magic, version, header_bytes, body_bytes = _PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise WireError(f"not an EdgeSplit frame: it begins with {bytes(prefix[:4])!r}")
    if version != VERSION:
        raise WireError(
            f"frame of wire version {version}, this side speaks {VERSION}; "
            "install the same EdgeSplit on all tiers"
        )
    if header_bytes > MAX_HEADER_BYTES:
        raise WireError(f"header of {header_bytes} bytes is over the limit of {MAX_HEADER_BYTES}")
    if body_bytes > max_frame_bytes:
        raise WireError(
            f"frame of {body_bytes} bytes is over the limit of {max_frame_bytes}; "
            "raise max_frame_bytes on every tier or send smaller batches"
        )
    return header_bytes, body_bytes


def decode(header: Buffer) -> Message:
    """The message a header holds. Raises WireError naming what is wrong with it."""
    try:
        message = _decoder.decode(header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"malformed header: {_shown(str(error))}") from None
    return _printable_refusal(message) if isinstance(message, Refusal) else message


def _shown(text: str) -> str:
    """A peer's text as it may be shown or logged; longer ones are cut off."""
    return printable(" ".join(text[:_SHOWN_CHARACTERS].split()))


def _printable_refusal(refusal: Refusal) -> Refusal:
    reason = refusal.reason if refusal.reason in _REASONS else "malformed"
    return Refusal(
        id=refusal.id,
        tier=_shown(refusal.tier),
        reason=reason,
        message=_shown(refusal.message),
    )


def specs_of(message: Message) -> Sequence[ValueSpec]:
    """What the body of `message` holds; nothing for messages without values."""
    return message.values if isinstance(message, Request | Reply) else ()


def decoded_bytes(specs: Sequence[ValueSpec]) -> int:
    """Memory that the coded tensors of a checked body take beside it, once they are decoded."""
    tensors = (spec for spec in specs if isinstance(spec, TensorSpec))
    return sum(_n_bytes(spec)[1] for spec in tensors if spec.codec != AS_IS)


def number(value: Any) -> bool | int | float:
    """`value` if it is a plain number, which travels in the header. Raises WireError."""
    if not isinstance(value, bool | int | float):
        raise WireError(f"a {type(value).__name__} cannot travel; expected tensors and numbers")
    return value


def check_body(specs: Sequence[ValueSpec], body_bytes: int, max_bytes: int) -> None:
    """Raise WireError unless every tensor is well formed and the body is as long as declared.

    max_bytes: that the tensors may take in memory, gaps and repeated elements included.
    """
    spread = [_n_bytes(spec) for spec in specs if isinstance(spec, TensorSpec)]
    needed = sum(padded(sent) for sent, _ in spread)
    if needed != body_bytes:
        raise WireError(f"the header declares {needed} bytes of tensors, the body has {body_bytes}")
    taken = sum(taken for _, taken in spread)
    if taken > max(max_bytes, body_bytes):
        raise WireError(
            f"strides make {taken} bytes of the {body_bytes} in the body, over the limit of "
            f"{max_bytes}; raise max_frame_bytes on every tier or send smaller batches"
        )


def limit_s(n_bytes: int) -> float:
    """How long a frame of so many bytes may take, the whole of it, either way."""
    return _LONGEST_FRAME_S + n_bytes / _SLOWEST_BYTES_PER_S


def new_body(body_bytes: int) -> Any:
    """Memory for a body, aligned as torch aligns its own: kernels may round differently if not."""
    memory = np.empty(body_bytes + ALIGNMENT, dtype=np.uint8)
    first = -memory.__array_interface__["data"][0] % ALIGNMENT  # quicker than .ctypes
    return memory[first : first + body_bytes]


def padded(n_bytes: int) -> int:
    """Bytes of the body that a tensor of so many bytes takes up."""
    return n_bytes + -n_bytes % ALIGNMENT


def _n_bytes(spec: TensorSpec) -> tuple[int, int]:
    """Bytes of a tensor in the body, and those that it may take in memory."""
    item_bytes = ITEM_BYTES.get(spec.dtype)
    if item_bytes is None:
        raise WireError(f"dtype {spec.dtype!r} is not one of {', '.join(ITEM_BYTES)}")
    if len(spec.strides) != len(spec.shape):
        raise WireError(f"tensor {spec} has {len(spec.shape)} sizes, {len(spec.strides)} strides")
    count = math.prod(spec.shape)
    # An empty tensor's other sizes still have to multiply without overflow.
    if not count and item_bytes * math.prod(filter(None, spec.shape)) > _ADDRESSABLE_BYTES:
        raise WireError(f"tensor {spec} has sizes that no tensor can have")
    if not count or is_dense(spec.shape, spec.strides):
        sent_bytes = taken_bytes = count * item_bytes
    else:
        found = places(spec.shape, spec.strides)
        sent_bytes, taken_bytes = found.count * item_bytes, max(found.reach, count) * item_bytes
    if spec.codec != AS_IS:
        CodedForm(spec.codec, spec.dtype, spec.shape, spec.strides, spec.coded_bytes)
        sent_bytes = spec.coded_bytes
    elif spec.coded_bytes:
        raise WireError(f"tensor {spec} is not coded, and has coded bytes")
    return sent_bytes, taken_bytes
