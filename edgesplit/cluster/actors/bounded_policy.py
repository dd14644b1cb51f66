"""A policy in the scheduler that all sessions share: it may hang, but hold nobody up.

A user's or a published one runs on a thread of its own, which cannot be ended: one that never
answers costs that thread, and its own session keeps the plan in force.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.learning import LearningPolicy, is_followed, learns
from edgesplit.core.policies.policy import Policy
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import EdgeSplitError, PlanError
from edgesplit.node.process.threads import begin

# So long all other sessions may wait, once. Planners answer within some milliseconds.
LIMIT_S = 2.0
_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class BoundedPolicy:
    """The same policy. Raises PlanError where it does not answer within limit_s.

    While an answer is still under way it is not asked again. policy: the one within.
    """

    def __init__(
        self, policy: Policy, limit_s: float = LIMIT_S, answers: "_OneAtATime | None" = None
    ) -> None:
        self.policy, self._answers = policy, answers or _OneAtATime(limit_s)

    def __reduce__(self) -> tuple[type["BoundedPolicy"], tuple[Policy, float]]:
        return (type(self), (self.policy, self._answers.limit_s))

    @property
    def is_followed(self) -> bool:
        """As the policy says."""
        return is_followed(self.policy)

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """As the policy; what it raises is raised."""
        return self._answers.of(lambda: self.policy(graph, profile, goal))


class BoundedLearningPolicy(BoundedPolicy):
    """The same of a policy that learns. What it learns from a request is bounded too."""

    policy: LearningPolicy

    def after(
        self, graph: Graph, profile: Profile, timings: Sequence[TierTiming]
    ) -> "BoundedLearningPolicy":
        """The policy that has also learned from one request; that it could not is logged once."""
        try:
            learned = self._answers.of(lambda: self.policy.after(graph, profile, timings))
        except EdgeSplitError as error:
            self._answers.tell_once(error)
            raise
        return BoundedLearningPolicy(learned, answers=self._answers)


def bounded(policy: Policy, limit_s: float = LIMIT_S) -> BoundedPolicy:
    """The policy, asked with a time limit."""
    if learns(policy):
        return BoundedLearningPolicy(policy, limit_s)
    return BoundedPolicy(policy, limit_s)


class _OneAtATime:
    """One question at a time, to one policy and to all that it becomes."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._asked: Future[Any] | None = None
        self._is_told = False

    def of(self, ask: Callable[[], _Answer]) -> _Answer:
        """What `ask` returns or raises, on another thread. Raises PlanError after limit_s."""
        if self._asked is not None and not self._asked.done():
            raise PlanError(
                f"the policy was asked before and still has not answered, after {self.limit_s:g} "
                "s and more; the plan in force is kept until it does"
            )
        asked = self._asked = Future[_Answer]()

        def run() -> None:
            try:
                asked.set_result(ask())
            except BaseException as error:  # a user's function: handed to the one that waits
                asked.set_exception(error)

        begin(run, "policy")
        try:
            return asked.result(self.limit_s)
        except TimeoutError:
            if asked.done():  # it raised one itself
                raise
            raise PlanError(
                f"the policy has not answered within {self.limit_s:g} s; answer from what is "
                "known, in milliseconds: all sessions wait for it"
            ) from None

    def tell_once(self, error: EdgeSplitError) -> None:
        """Log the first request that the policy could not learn from."""
        if not self._is_told:
            self._is_told = True
            _log.warning("a policy has not learned from a request, nor may it later: %s", error)
