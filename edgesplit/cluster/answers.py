"""Waiting for answers of Ray's, with time limits; its errors become the project's here only."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
import ray.exceptions

from edgesplit.errors import ClosedError, ClusterError, EdgeSplitError

CONTROL_TIMEOUT_S = 30.0
_LOOK_S = 0.2  # between two looks whether an answer is still wanted


def answer(call: Any, what: str, timeout_s: float = CONTROL_TIMEOUT_S) -> Any:
    """The answer of a Ray call. Raises ClusterError, or what of the project's the call raised."""
    try:
        return ray.get(call, timeout=timeout_s)
    except ray.exceptions.GetTimeoutError as error:
        raise ClusterError(f"waited {timeout_s:g} s for {what}, in vain") from error
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, EdgeSplitError):
            raise error.cause from None
        raise ClusterError(f"waiting for {what}: {error.cause!r}") from error
    except ray.exceptions.RayError as error:
        reason = " / ".join(str(error).strip().splitlines()[-3:])
        raise ClusterError(f"waiting for {what}: {reason}") from error


def answers(calls: Sequence[Any], what: str, timeout_s: float = CONTROL_TIMEOUT_S) -> None:
    """Wait for all of them. Raises as answer()."""
    for call in calls:
        answer(call, what, timeout_s)


def answer_while(goes_on: Callable[[], bool], call: Any, what: str, timeout_s: float) -> Any:
    """The answer; ClosedError soon after goes_on() has said no. Raises as answer()."""
    until_s = time.monotonic() + timeout_s
    while goes_on() and time.monotonic() < until_s:
        if ray.wait([call], timeout=_LOOK_S)[0]:
            return answer(call, what)
    if goes_on():
        raise ClusterError(f"waited {timeout_s:g} s for {what}, in vain")
    raise ClosedError("this EdgeSplit is closed; make a new one")
