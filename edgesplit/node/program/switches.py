"""torch's settings of the whole process that change what operators compute, as one value.

It is taken at the caller and travels with the program: a tier sets it while it runs the program and
puts back what was there. A tier runs one program at a time, on its compute thread.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch

from edgesplit.errors import RuntimeUnavailableError

_C: Any = torch._C
Switches = tuple[Any, ...]


class _Switch(NamedTuple):
    """usual: its value in a process that has set nothing."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], None]
    usual: Any


def _determinism() -> tuple[bool, bool]:
    return _C._get_deterministic_algorithms(), _C._get_deterministic_algorithms_warn_only()


def _put_determinism(value: tuple[bool, bool]) -> None:
    _C._set_deterministic_algorithms(value[0], warn_only=value[1])


def _precision(operators: str) -> _Switch:
    """In what single-precision operators of oneDNN may compute inside."""
    place = ("mkldnn", operators)
    return _Switch(
        f"float32 precision of {operators}",
        partial(_C._get_fp32_precision_getter, *place),
        partial(_C._set_fp32_precision_setter, *place),
        "none",
    )


def _flag(name: str, getter: str, setter: str, usual: bool) -> _Switch:
    return _Switch(name, getattr(_C, getter), getattr(_C, setter), usual)


_SWITCHES = (
    _Switch("default dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    _Switch("deterministic algorithms", _determinism, _put_determinism, (False, False)),
    _flag(
        "filling of empty tensors",
        "_get_deterministic_fill_uninitialized_memory",
        "_set_deterministic_fill_uninitialized_memory",
        True,
    ),
    _flag("mkldnn", "_get_mkldnn_enabled", "_set_mkldnn_enabled", True),
    _flag("deterministic mkldnn", "_get_mkldnn_deterministic", "_set_mkldnn_deterministic", False),
    _flag("nnpack", "_get_nnpack_enabled", "_set_nnpack_enabled", True),
    _flag("flash attention", "_get_flash_sdp_enabled", "_set_sdp_use_flash", True),
    _flag("plain attention", "_get_math_sdp_enabled", "_set_sdp_use_math", True),
    _precision("all"),
    _precision("matmul"),
    _precision("conv"),
    _precision("rnn"),
)
USUAL: Switches = tuple(switch.usual for switch in _SWITCHES)
_GETTERS = tuple(switch.get for switch in _SWITCHES)
_setting = threading.Lock()  # they belong to the process: one program at a time sets them


def now() -> Switches:
    """As they are in this process: 1 us."""
    return tuple([get() for get in _GETTERS])


@contextmanager
def in_force(wanted: Switches) -> Iterator[None]:
    """Within this the process has these; afterwards what it had."""
    with _setting:
        before = now()
        _put(before, wanted)
        try:
            yield
        finally:
            _put(now(), before)


def require_usual(switches: Switches, runtime: str) -> None:
    """Raise RuntimeUnavailableError for what other runtimes than eager torch know nothing of."""
    pairs = zip(_SWITCHES, switches, strict=True)
    unusual = [f"{switch.name} is {value}" for switch, value in pairs if value != switch.usual]
    if unusual:
        raise RuntimeUnavailableError(
            f"torch was set otherwise than usual when the model was called "
            f"({', '.join(unusual)}), which {runtime} does not follow; run it in torch"
        )


def _put(there: Switches, wanted: Switches) -> None:
    for switch, before, value in zip(_SWITCHES, there, wanted, strict=True):
        if before != value:
            switch.put(value)
