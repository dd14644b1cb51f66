"""What the user wants of every workload of a session."""

from dataclasses import dataclass

from edgesplit.caller.accuracy.examples import Examples
from edgesplit.core.control.state import Settings
from edgesplit.core.goal import Goal
from edgesplit.core.policies.policy import Policy
from edgesplit.node.program.export.snapshot import Mode


@dataclass(frozen=True)
class SessionOptions:
    """What the user wants of every workload."""

    goal: Goal
    policy: Policy
    settings: Settings
    fails_over: bool
    hedges: bool
    mode: Mode = "eval"
    policy_name: str = ""
    examples: Examples | None = None
