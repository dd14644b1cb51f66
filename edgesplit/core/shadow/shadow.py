"""A policy that is told what happens to a session, and chooses beside it, but runs nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgesplit.core.changed import changed
from edgesplit.core.control.decide import candidate, cost_of, is_worth
from edgesplit.core.control.state import ControlState
from edgesplit.core.cost import CostModel
from edgesplit.core.plan import Plan
from edgesplit.core.policies.checked import checked
from edgesplit.core.policies.learning import is_followed, learns
from edgesplit.core.policies.policy import Policy
from edgesplit.core.shadow.history import Returned
from edgesplit.core.shadow.modelled_timings import modelled_timings
from edgesplit.errors import EdgeSplitError


@dataclass(frozen=True)
class Shadow:
    """One policy, by the rules of the control loop.

    policy: as it has learned so far. plan: in force for it, None until it has chosen one.
    """

    policy: Policy
    plan: Plan | None = None

    def looked(self, state: ControlState, model: CostModel) -> "Shadow":
        """After an evaluation: what is chosen is taken if worth it, or if the policy is followed.

        model: the evaluation's. A plan takes effect with the next request.
        """
        seen = changed(state, policy=self.policy, active=self.plan, pending=None, refused=None)
        current = cost_of(seen, model, self.plan)
        best = candidate(seen, model, current)
        if best is None or best.plan == self.plan:
            return self
        if is_followed(self.policy) or is_worth(seen, best, current):
            return changed(self, plan=best.plan)
        return self

    def told(self, request: Returned, model: CostModel) -> "Shadow":
        """After a request along its plan: what a policy that learns makes of it.

        model: of the conditions that the request met. By it is told what tiers would have measured,
        where the session ran another plan.
        """
        if self.plan is None or not learns(self.policy):
            return self
        try:
            timings = request.timings
            if self.plan != request.plan:
                timings = modelled_timings(model, self.plan)
            learned = self.policy.after(model.graph, request.believed, timings)
        except EdgeSplitError:  # it cannot run, or cannot be learned from
            return self
        return changed(self, policy=learned)


def shadows(policies: Mapping[str, Policy]) -> dict[str, Shadow]:
    """Of each policy, before anything has happened."""
    return {name: Shadow(checked(policy)) for name, policy in policies.items()}
