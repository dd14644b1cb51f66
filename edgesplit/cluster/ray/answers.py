"""Waiting for answers of Ray's, with time limits; its errors become the project's here only."""

import time
from collections.abc import Callable
from typing import Any

import ray
import ray.exceptions

from edgesplit.errors import ClusterError, EdgeSplitError

Get = Callable[..., Any]  # (call, what, timeout_s): as answer()
CONTROL_TIMEOUT_S = 30.0
_LOOK_S = 0.2  # between two looks whether an answer is still wanted


def _nothing() -> None: ...


def answer(
    call: Any,
    what: str,
    timeout_s: float = CONTROL_TIMEOUT_S,
    check: Callable[[], None] = _nothing,
) -> Any:
    """The answer of a Ray call. Raises ClusterError, or what of the project's the call raised.

    check: called while there is no answer; what it raises ends the waiting.
    """
    until_s = time.monotonic() + timeout_s
    try:
        while not ray.wait([call], timeout=_LOOK_S)[0] and time.monotonic() < until_s:
            check()
        return ray.get(call, timeout=max(_LOOK_S, until_s - time.monotonic()))
    except ray.exceptions.GetTimeoutError as error:
        raise ClusterError(f"waited {timeout_s:g} s for {what}, in vain") from error
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, EdgeSplitError):
            raise error.cause from None
        raise ClusterError(f"waiting for {what}: {error.cause!r}") from error
    except ray.exceptions.RayError as error:
        reason = " / ".join(str(error).strip().splitlines()[-3:])
        raise ClusterError(f"waiting for {what}: {reason}") from error
