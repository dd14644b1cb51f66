"""Exports kept in this host's cache: of a model with the same code and attributes, called alike.

    exports/KEY   what torch.export found out, but for the weights, which are the model's of now

One that is found is used where it gives the model's own answer on the input at hand, as every
export has to. A folder into which others may write is neither read nor written.
"""

import ast
import contextlib
import hashlib
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import SYMPY_INTERP
from torch.utils import _pytree as pytree

from edgesplit.errors import ConfigError, ExportError, WireError
from edgesplit.node.process.kept_file import replace_file
from edgesplit.node.program.export.aliases import overlaps
from edgesplit.node.program.export.leaf import Leaf, plain
from edgesplit.node.program.export.model import ExportedModel, revived
from edgesplit.node.program.export.model_key import model_key
from edgesplit.node.program.export.signature import ArgumentForm, Guards, Signature
from edgesplit.node.program.export.trees import flatten_args
from edgesplit.node.program.program import Program
from edgesplit.node.program.store_folder import is_own, require_own
from edgesplit.node.program.structure_codec import decode, encode
from edgesplit.node.program.surroundings import surroundings
from edgesplit.node.transport.strides import memory_order_of
from edgesplit.node.transport.tensors import dtype_of, name_of

FORMAT = 1
_MOST_KEPT = 200  # of some 10 kB to 1 MB each; those used longest ago go first
_MOST_CONSTANT_BYTES = 1 << 20
_SIZES = frozenset({"size", "stride", "storage_offset"})
_NAMES = frozenset({"L", "max", "min", "abs", "int", *SYMPY_INTERP})
_SAFE = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.BinOp,
    ast.operator, ast.IfExp, ast.Compare, ast.cmpop, ast.Constant, ast.Subscript, ast.Load,
)  # fmt: skip
_log = logging.getLogger(__name__)


class Constant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dense tensor that the export computed ahead, such as the first state of an RNN."""

    dtype: str
    shape: tuple[int, ...]
    requires_grad: bool
    data: bytes


class KeptExport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An export without weights. weights: names in the model, and constants.

    shapes: per tensor of the arguments, None: varies. values: of all weights, hashed, where there
    are constants, which may have been computed from them.
    """

    format: int
    structure: bytes
    weights: tuple[str | Constant, ...]
    values: str
    shapes: tuple[tuple[int | None, ...], ...]
    conditions: tuple[str, ...]
    ranges: tuple[tuple[int, int, float, float], ...]
    ones: tuple[tuple[tuple[int, int], ...], ...]
    written: tuple[int, ...]
    zeroing: tuple[str, ...]


class KeptExports:
    """Those of one model, whose snapshot it is, in `folder`."""

    def __init__(self, folder: Path, snapshot: nn.Module) -> None:
        self._folder, self._snapshot = folder, snapshot
        self._model_key = model_key(snapshot)

    def find(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        varying: Sequence[Collection[int]],
        before_run: Callable[[], None] = lambda: None,
    ) -> ExportedModel | None:
        """The export of before that is for these arguments and answers as the model does.

        before_run: called before the model is run to see that, where one is found.
        """
        path = self._path(args, kwargs, varying)
        if path is None or not is_own(self._folder.parent):
            return None
        try:
            exported = _read(path.read_bytes(), self._snapshot, flatten_args(args, kwargs))
        except FileNotFoundError:
            return None
        except (OSError, WireError, ExportError, LookupError, ValueError, SyntaxError) as error:
            _log.warning("a kept export cannot be used and is made anew: %s", error)
            return None
        with contextlib.suppress(OSError):  # a disk that is only read
            path.touch()
        before_run()
        return revived(exported, self._snapshot, args, kwargs)

    def keep(
        self,
        exported: ExportedModel,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        varying: Sequence[Collection[int]],
    ) -> None:
        """Keep an export of this model for these arguments, if that can be."""
        path = self._path(args, kwargs, varying)
        weights = _kept_weights(exported.program, self._snapshot)
        if path is None or weights is None:
            return
        try:
            require_own(self._folder.parent)
        except (OSError, ConfigError) as error:
            _log.info("an export is not kept: %s", error)
        else:
            replace_file(path, _written(exported, weights, self._snapshot), _MOST_KEPT)

    def _path(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], varying: Sequence[Collection[int]]
    ) -> Path | None:
        """Where the export for such arguments lies; None where the model has no key."""
        if self._model_key is None:
            return None
        leaves, tree = flatten_args(args, kwargs)
        forms = [
            (tuple(leaf.shape), leaf.stride(), leaf.dtype)
            if isinstance(leaf, torch.Tensor)
            else plain(leaf)
            for leaf in leaves
        ]
        shared = overlaps([leaf for leaf in leaves if isinstance(leaf, torch.Tensor)])
        called = (str(tree), forms, shared, surroundings(), [sorted(dims) for dims in varying])
        text = f"{FORMAT} {self._model_key} {called!r}"
        return self._folder / hashlib.sha256(text.encode()).hexdigest()


def _written(
    exported: ExportedModel, weights: Sequence[str | Constant], snapshot: nn.Module
) -> bytes:
    program, signature = exported.program, exported.signature
    has_constants = any(isinstance(weight, Constant) for weight in weights)
    kept = KeptExport(
        format=FORMAT,
        structure=encode(program.structure, program.switches),
        weights=tuple(weights),
        values=_values(snapshot) if has_constants else "",
        shapes=tuple(form.shape for form in signature.forms if isinstance(form, ArgumentForm)),
        conditions=signature.guards.texts,
        ranges=signature.guards.ranges,
        ones=tuple(tuple(sorted(ones)) for ones in signature.guards.ones),
        written=tuple(sorted(exported.written)),
        zeroing=tuple(sorted(exported.zeroing)),
    )
    data = msgspec.msgpack.encode(kept)
    return hashlib.sha256(data).digest() + data


def _read(
    found: bytes, snapshot: nn.Module, called: tuple[Sequence[Leaf], pytree.TreeSpec]
) -> ExportedModel:
    """The export on the snapshot's weights; its result's tree is still to be learnt.

    called: leaves and tree of the arguments.

    Raises WireError, ExportError, LookupError, ValueError, SyntaxError for what is none.
    """
    digest, data = found[:32], found[32:]
    if hashlib.sha256(data).digest() != digest:
        raise WireError("its bytes are damaged")
    kept = msgspec.msgpack.decode(data, type=KeptExport)
    (leaves, tree), (structure, switches) = called, decode(kept.structure)
    if kept.values and kept.values != _values(snapshot):
        raise WireError("the model has other weights, from which parts of it were computed")
    named = _named(snapshot)
    program = Program(structure, tuple(_weight(w, named) for w in kept.weights), switches)
    shapes = iter(kept.shapes)
    forms = tuple(
        ArgumentForm(
            next(shapes), leaf.dtype, memory_order_of(leaf.shape, leaf.stride()), tuple(leaf.shape)
        )
        if isinstance(leaf, torch.Tensor)
        else plain(leaf)
        for leaf in leaves
    )
    for condition in kept.conditions:
        require_sizes_only(condition)
    guards = Guards(kept.conditions, kept.ranges, tuple(map(frozenset, kept.ones)))
    written, zeroing = frozenset(kept.written), frozenset(kept.zeroing)
    signature = Signature(tree, forms, guards)
    return ExportedModel(program, signature, pytree.tree_structure(None), written, zeroing)


def require_sizes_only(condition: str) -> None:
    """Raise WireError for a condition that does more than compare sizes, as torch writes them."""
    for node in ast.walk(ast.parse(condition, mode="eval")):
        match node:
            case ast.Name(id=name) if name in _NAMES:
                continue
            case ast.Attribute(attr=name) if name in _SIZES:
                continue
            case ast.Attribute(value=ast.Name(id="math"), attr=name) if name in vars(math):
                continue
            case ast.Attribute(value=ast.Name(id="torch"), attr=name) if name.startswith("sym_"):
                continue
            case ast.Call(func=ast.Name() | ast.Attribute(), keywords=[]):
                continue
        if not isinstance(node, _SAFE):
            raise WireError(f"{condition[:80]!r} is no condition on sizes")


def _weight(kept: str | Constant, named: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if isinstance(kept, str):
        return named[kept].detach().requires_grad_(named[kept].requires_grad)
    data = torch.frombuffer(bytearray(kept.data), dtype=dtype_of(kept.dtype))
    return data.reshape(kept.shape).requires_grad_(kept.requires_grad)


def _kept_weights(program: Program, snapshot: nn.Module) -> list[str | Constant] | None:
    """Of each weight, which of the model's it is, or itself; None where it cannot be kept."""
    names = {place: name for name, x in _named(snapshot).items() if (place := _place(x))}
    found: list[str | Constant] = []
    left_bytes = _MOST_CONSTANT_BYTES
    for weight in program.weights:
        name = names.get(_place(weight))
        if name is None:
            left_bytes -= weight.nbytes
            if not weight.is_contiguous() or not weight.numel() or left_bytes < 0:
                return None
        found.append(name or _constant(weight))
    return found


def _constant(weight: torch.Tensor) -> Constant:
    data = weight.detach().reshape(-1).view(torch.uint8).numpy().tobytes()
    return Constant(name_of(weight.dtype), tuple(weight.shape), weight.requires_grad, data)


def _values(snapshot: nn.Module) -> str:
    """Of all its parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in _named(snapshot).items():
        digest.update(name.encode() + b"\0")
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _named(snapshot: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(snapshot.named_buffers()), **dict(snapshot.named_parameters())}


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Which memory it is, and how; nothing for what is not dense."""
    if tensor.layout is not torch.strided:
        return ()
    where = (tensor.untyped_storage()._cdata, tensor.storage_offset())
    return (*where, tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.requires_grad)
