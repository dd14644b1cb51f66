"""A user's policy in the scheduler that all sessions share: it may hang, but hold nobody up.

It runs on a thread of its own, which cannot be ended: one that never answers costs that thread, and
its own session keeps the plan in force.
"""

from concurrent.futures import Future

from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.policy import Policy
from edgesplit.core.profile import Profile
from edgesplit.errors import PlanError
from edgesplit.node.process.threads import begin

# So long all other sessions may wait, once. Planners answer within some milliseconds.
LIMIT_S = 2.0


class BoundedPolicy:
    """The same policy. Raises PlanError where it does not answer within limit_s.

    While an answer is still under way it is not asked again.
    """

    def __init__(self, policy: Policy, limit_s: float = LIMIT_S) -> None:
        self._policy, self._limit_s = policy, limit_s
        self._asked: Future[Plan] | None = None

    def __reduce__(self) -> tuple[type["BoundedPolicy"], tuple[Policy, float]]:
        return (type(self), (self._policy, self._limit_s))

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """As the policy; what it raises is raised."""
        if self._asked is not None and not self._asked.done():
            raise PlanError(
                f"the policy was asked before and still has not answered, after {self._limit_s:g} "
                "s and more; the plan in force is kept until it does"
            )
        asked = self._asked = Future[Plan]()

        def answer() -> None:
            try:
                asked.set_result(self._policy(graph, profile, goal))
            except BaseException as error:  # a user's function: handed to whoever waits
                asked.set_exception(error)

        begin(answer, "policy")
        try:
            return asked.result(self._limit_s)
        except TimeoutError:
            if asked.done():  # it raised one itself
                raise
            raise PlanError(
                f"the policy has not answered within {self._limit_s:g} s; answer from what is "
                "known, in milliseconds: all sessions wait for it"
            ) from None
