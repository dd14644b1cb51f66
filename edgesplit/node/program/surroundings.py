"""What a model finds around it when it is called, beside its inputs and weights.

forward may read all of it, so it is part of what an export holds for. What operators read of it
when they run travels with the program (switches.py); the rest has done its work at export. What can
do neither is refused.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from edgesplit.errors import InputError
from edgesplit.node.program.switches import Switches, now

_C: Any = torch._C


class Surroundings(NamedTuple):
    """Of one call. autocast: the dtype it casts to on the CPU, None while it is off.

    fused_attention: whether nn.MultiheadAttention and its kin may take torch's inference path.
    """

    switches: Switches
    has_grad: bool
    is_inference: bool
    autocast: torch.dtype | None
    fused_attention: bool
    has_device_mode: bool
    einsum: tuple[bool, str | None]


def surroundings() -> Surroundings:
    """Those of this call: 4 us. Raises InputError for what no tier can be given."""
    _refuse_what_cannot_travel()
    einsum: Any = torch.backends.opt_einsum
    return Surroundings(
        now(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None,
        torch.backends.mha.get_fastpath_enabled(),
        bool(_C._len_torch_function_stack()),
        (einsum.enabled, einsum.strategy),
    )


def _refuse_what_cannot_travel() -> None:
    if _C._len_torch_function_stack():
        for mode in _get_current_function_mode_stack():  # type: ignore[no-untyped-call]
            is_device = isinstance(mode, DeviceContext)
            if not is_device or mode.device.type != "cpu":
                what = f"the default device {mode.device}" if is_device else type(mode).__name__
                raise _refusal(what)
    if _C._len_torch_dispatch_stack():
        raise _refusal(type(_C._get_dispatch_stack_at(0)).__name__)
    if _C._functorch.peek_interpreter_stack() is not None:
        raise _refusal("a transform of torch.func, such as vmap or grad")


def _refusal(what: str) -> InputError:
    return InputError(
        f"infer was called inside {what}, which the tiers cannot be given; call it outside of that"
    )


def without_autocast() -> AbstractContextManager[Any]:
    """For running a program in the caller's thread: its casts are written into it already."""
    if torch.is_autocast_enabled("cpu"):
        return torch.autocast("cpu", enabled=False)
    return nullcontext()
