"""The arguments of one call: checked, flat, and with the key that tells their signature."""

import time
from collections.abc import Mapping
from typing import Any

import torch

from edgesplit.errors import InputError
from edgesplit.node.program.export.aliases import overlaps
from edgesplit.node.program.export.leaf import Leaf, Plain, plain
from edgesplit.node.program.export.trees import flatten_args
from edgesplit.node.program.surroundings import surroundings

SignatureKey = tuple[Any, ...]


class CallArguments:
    """The arguments of one call: flat, checked, and with the key that tells their signature.

    key: all that forward may look at beside values: forms, torch's settings, what shares memory.
    forms: the part of it that payloads look like.

    Raises InputError for what is no input.
    """

    def __init__(self, args: Any, kwargs: Mapping[str, Any]) -> None:
        self.at_s = time.perf_counter()
        self.args, self.kwargs = args, kwargs
        self.leaves, tree = flatten_args(args, kwargs)
        self.forms: SignatureKey = (tree, tuple(_form(leaf) for leaf in self.leaves))
        shared = overlaps([leaf for leaf in self.leaves if isinstance(leaf, torch.Tensor)])
        self.key: SignatureKey = (self.forms, surroundings(), shared)


def _form(leaf: Leaf) -> Plain | tuple[torch.Size, tuple[int, ...], torch.dtype]:
    if not isinstance(leaf, torch.Tensor):
        return plain(leaf)
    if leaf.device.type != "cpu":
        raise InputError(f"inputs must be on the CPU, given one on {leaf.device}; use x.cpu()")
    if leaf.numel() == 0:
        raise InputError(f"an input of shape {tuple(leaf.shape)} is empty; leave it out")
    return leaf.shape, leaf.stride(), leaf.dtype
