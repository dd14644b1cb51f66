"""What holds for lossy runtimes alone: when one may be measured, when used, how it is judged.

A lossy runtime is never used unless the user names it and grants a loss of accuracy.
"""

import sys
from collections.abc import Iterable

from edgesplit.node.runtime.check import TOLERANCE, Exactness
from edgesplit.node.runtime.table import RUNTIMES

# Results of the right form, finite wherever torch's are.
_ANY_LOSS = Exactness(tolerance=sys.float_info.max, is_lossy=True)


def is_lossy(runtime: str) -> bool:
    """Whether results in it differ from torch's by more than rounding."""
    return runtime in RUNTIMES and RUNTIMES[runtime].is_lossy


def judged(runtimes: Iterable[str], wanted: Exactness) -> Exactness:
    """How results are judged that those runtimes had a part in: loss is for others to bound."""
    return _ANY_LOSS if any(map(is_lossy, runtimes)) else wanted


def why_not_measured(runtime: str, wanted: Exactness, has_examples: bool) -> str:
    """Why a runtime that was named is not even measured; empty where it is, or is not lossy.

    wanted: of all answers, as the user has it. has_examples: to calibrate on. Whether its loss is
    granted is the planner's to look at.
    """
    if not is_lossy(runtime):
        return ""
    if wanted.exact:
        return f"{runtime} is lossy, and exact=True allows no difference from torch"
    if wanted.tolerance != TOLERANCE:
        return (
            f"{runtime} is lossy and keeps no tolerance ({wanted.tolerance:g} was given); leave "
            "tolerance out and grant a loss: Goal(max_accuracy_loss=...)"
        )
    if not has_examples:
        return f"{runtime} is calibrated on examples: give EdgeSplit(..., examples=...)"
    return ""
