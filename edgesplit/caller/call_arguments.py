"""The arguments of one call: checked, flat, and with the key that tells their signature."""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from edgesplit.caller.inputs.image_file import ImageFile
from edgesplit.errors import InputError
from edgesplit.node.program.export.aliases import overlaps
from edgesplit.node.program.export.leaf import Leaf, Plain, SentLeaf, plain
from edgesplit.node.program.export.trees import flatten_args
from edgesplit.node.program.surroundings import surroundings
from edgesplit.node.transport.coded_tensor import CodedTensor

SignatureKey = tuple[Any, ...]
_Call = tuple[Sequence[Any], Mapping[str, Any]]


class CallArguments:
    """The arguments of one call: flat, checked, and with the key that tells their signature.

    key: all that forward may look at beside values: forms, torch's settings, what shares memory;
    and which arguments are picture files, whose pixels are decoded when they are asked for.
    leaves: tensors and plain values; tensors of no meaning stand in for files.
    forms: the part of it that payloads look like. payload_key: with which of them are files.

    Raises InputError for what is no input.
    """

    def __init__(self, args: Any, kwargs: Mapping[str, Any]) -> None:
        self.at_s = time.perf_counter()
        self._call: _Call = args, kwargs
        # Whether some of them are picture files.
        self.has_files = ImageFile in (*map(type, args), *map(type, kwargs.values()))
        self._places: dict[int, int] = {}
        stand_ins: list[torch.Tensor] = []
        if self.has_files:
            self._files = [f for f in (*args, *kwargs.values()) if isinstance(f, ImageFile)]
            self._sent = [_sent(file) for file in self._files]
            stand_ins = [_stand_in(one) for one in self._sent]
            args, kwargs = self._with(stand_ins)
        self.leaves, tree = flatten_args(args, kwargs)
        if stand_ins:
            self._places = _places(stand_ins, self.leaves)
        self.forms: SignatureKey = (tree, tuple(_form(leaf) for leaf in self.leaves))
        shared = overlaps([leaf for leaf in self.leaves if isinstance(leaf, torch.Tensor)])
        self.payload_key: SignatureKey = (self.forms, tuple(self._places))
        self.key: SignatureKey = (self.payload_key, surroundings(), shared)

    @property
    def args(self) -> Sequence[Any]:
        """As given, each file decoded. Raises InputError for one that is broken."""
        return self._decoded[0]

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The same by name."""
        return self._decoded[1]

    @property
    def decoded_leaves(self) -> list[Leaf]:
        """The leaves, each file decoded. Raises InputError for one that is broken."""
        return flatten_args(*self._decoded)[0] if self.has_files else self.leaves

    @property
    def sent_leaves(self) -> list[SentLeaf]:
        """The leaves with files as they are, as far as tiers take them."""
        leaves: list[SentLeaf] = list(self.leaves)
        for place, number in self._places.items():
            leaves[place] = self._sent[number]
        return leaves

    @cached_property
    def _decoded(self) -> _Call:
        if not self.has_files:
            return self._call
        pairs = zip(self._sent, self._files, strict=True)
        return self._with(one if isinstance(one, torch.Tensor) else f.tensor() for one, f in pairs)

    def _with(self, instead: Iterable[Any]) -> _Call:
        """The arguments with those in place of the files, in their order."""
        args, kwargs = self._call
        left = iter(instead)

        def of(one: Any) -> Any:
            return next(left) if isinstance(one, ImageFile) else one

        return tuple(map(of, args)), {name: of(one) for name, one in kwargs.items()}


def _sent(file: ImageFile) -> CodedTensor | torch.Tensor:
    coded = file.coded()
    return file.tensor() if coded is None else coded


def _stand_in(sent: CodedTensor | torch.Tensor) -> torch.Tensor:
    """A tensor of that form, whose values do not count."""
    if isinstance(sent, torch.Tensor):
        return sent
    return torch.empty(sent.shape, dtype=getattr(torch, sent.dtype))


def _places(stand_ins: Sequence[torch.Tensor], leaves: Sequence[Leaf]) -> dict[int, int]:
    """By the place of a leaf, the number of the file that it stands for."""
    numbers = {id(one): number for number, one in enumerate(stand_ins)}
    return {place: numbers[id(leaf)] for place, leaf in enumerate(leaves) if id(leaf) in numbers}


def _form(leaf: Leaf) -> Plain | tuple[torch.Size, tuple[int, ...], torch.dtype]:
    if not isinstance(leaf, torch.Tensor):
        return plain(leaf)
    if leaf.device.type != "cpu":
        raise InputError(f"inputs must be on the CPU, given one on {leaf.device}; use x.cpu()")
    if leaf.numel() == 0:
        raise InputError(f"an input of shape {tuple(leaf.shape)} is empty; leave it out")
    return leaf.shape, leaf.stride(), leaf.dtype
