"""Policies whose failures and wrong answers are PlanErrors that say so: a user may write any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.learning import LearningPolicy, is_followed, learns
from edgesplit.core.policies.policy import CostPolicy, FixedPlan, Policy
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import EdgeSplitError, PlanError

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class CheckedPolicy:
    """policy, but it raises PlanError where that fails or returns no plan."""

    policy: Policy

    @property
    def is_followed(self) -> bool:
        """As the policy says."""
        return is_followed(self.policy)

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy."""
        plan = _answer(lambda: self.policy(graph, profile, goal))
        if not isinstance(plan, Plan):
            raise PlanError(
                f"the policy returned {type(plan).__name__}, expected a Plan; parse_plan(text) and "
                "plan_along(route, cuts, n_layers) make one"
            )
        return plan


@dataclass(frozen=True)
class CheckedLearningPolicy(CheckedPolicy):
    """The same of a policy that learns; `after` raises PlanError too."""

    policy: LearningPolicy

    def after(
        self, graph: Graph, profile: Profile, timings: Sequence[TierTiming]
    ) -> "CheckedLearningPolicy":
        """The policy that has also learned from one request."""
        learned = _answer(lambda: self.policy.after(graph, profile, timings))
        if not learns(learned):
            raise PlanError(
                f"the policy's after() returned {type(learned).__name__}, expected the policy that "
                "has learned: a value that can be called and has after()"
            )
        return CheckedLearningPolicy(learned)


def checked(policy: Policy) -> Policy:
    """The same policy, whose failures and wrong answers are PlanErrors that say so."""
    if isinstance(policy, CostPolicy | FixedPlan):
        return policy  # ours
    return CheckedLearningPolicy(policy) if learns(policy) else CheckedPolicy(policy)


def bare(policy: Policy) -> Policy:
    """The policy itself, where `checked` was put around it."""
    return policy.policy if isinstance(policy, CheckedPolicy) else policy


def _answer(ask: Callable[[], _Found]) -> _Found:
    try:
        return ask()
    except EdgeSplitError:
        raise
    except Exception as error:  # a user's function may raise anything
        raise PlanError(f"the policy raised {error!r}") from error
