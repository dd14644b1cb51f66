"""nn.TransformerEncoder with a padding mask, as it answers outside of training.

torch's inference path takes the padded positions out of the batch and puts zeros there afterwards,
where the mask hides only the ends of sequences. An export cannot take that path; the exported
encoder puts the same zeros there by itself.
"""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgesplit.errors import ExportError
from edgesplit.node.program.export.capture import FlatModel
from edgesplit.node.program.export.original import Original, run

_MASK = "src_key_padding_mask"
_MASK_POSITION = 2


def zeroing_encoders(original: Original) -> frozenset[str]:
    """Names of the encoders that take that path in this call, if their mask allows it."""
    if not any(isinstance(module, nn.TransformerEncoder) for module in original.snapshot.modules()):
        return frozenset()
    flat = original.to_run()
    found: set[str] = set()
    # Its answer is no matter, nor whether it gets to one.
    with _watching(flat, found), suppress(Exception):
        run(flat, original.tensors)
    return frozenset(found)


def put_zeros(flat: FlatModel, names: frozenset[str]) -> None:
    """Have these encoders of a copy put zeros at hidden ends. Raises ExportError."""
    for name in names:
        encoder = cast(nn.TransformerEncoder, flat.model.get_submodule(name))
        if type(encoder).forward is not nn.TransformerEncoder.forward:
            raise ExportError(
                f"{name} ({type(encoder).__name__}) extends nn.TransformerEncoder and takes its "
                "inference path for padded inputs, which cannot be exported; make it with "
                "enable_nested_tensor=False"
            )
        # forward is looked up in the instance first.
        setattr(encoder, "forward", partial(_forward_with_zeros, encoder))  # noqa: B010


def _forward_with_zeros(
    encoder: nn.TransformerEncoder,
    src: torch.Tensor,
    mask: torch.Tensor | None = None,
    src_key_padding_mask: torch.Tensor | None = None,
    is_causal: bool | None = None,
) -> torch.Tensor:
    assert src_key_padding_mask is not None, "the path is taken for padded inputs only"
    unnormed = copy.copy(encoder)
    unnormed._modules = {**encoder._modules, "norm": None}
    out = nn.TransformerEncoder.forward(unnormed, src, mask, src_key_padding_mask, is_causal)
    is_hidden = src_key_padding_mask.bool()
    are_ends = (is_hidden[:, 1:] >= is_hidden[:, :-1]).all()
    out = out.masked_fill((is_hidden & are_ends).unsqueeze(-1), 0.0)
    return out if encoder.norm is None else encoder.norm(out)


@contextmanager
def _watching(flat: FlatModel, found: set[str]) -> Iterator[None]:
    """Within this, encoders see a mask that hides nothing, and those that take the path are found.

    So it is the other conditions that decide, whatever this call's mask hides.
    """
    with ExitStack() as stack:
        watch = stack.enter_context(_NestedWatch(found))
        for name, module in flat.model.named_modules():
            if isinstance(module, nn.TransformerEncoder):
                module.register_forward_pre_hook(partial(watch.enter, name), with_kwargs=True)
                module.register_forward_hook(watch.leave)
        yield


class _NestedWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which encoder makes a nested tensor of a mask."""

    def __init__(self, found: set[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._found = found
        self._inside: list[str] = []

    def enter(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Before an encoder: its mask without anything hidden."""
        self._inside.append(name)
        given = list(args)
        if len(given) > _MASK_POSITION and given[_MASK_POSITION] is not None:
            given[_MASK_POSITION] = torch.zeros_like(given[_MASK_POSITION])
        if kwargs.get(_MASK) is not None:
            kwargs = {**kwargs, _MASK: torch.zeros_like(kwargs[_MASK])}
        return tuple(given), kwargs

    def leave(self, module: nn.Module, args: Any, result: Any) -> None:
        """After it."""
        self._inside.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten._nested_tensor_from_mask.default and self._inside:
            self._found.add(self._inside[-1])
        return func(*args, **(kwargs or {}))
