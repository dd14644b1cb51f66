"""A model on one input signature, as the caller keeps it: the export, its plan, its requests."""

from dataclasses import dataclass, field

from edgesplit.cluster.scheduler import Activation
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.node import wire
from edgesplit.node.model import ExportedModel
from edgesplit.node.profiler import Forms


@dataclass(frozen=True)
class Loaded:
    """An export that every tier holds."""

    exported: ExportedModel
    program_id: str


@dataclass(eq=False)
class ActiveWorkload:
    """What is fixed of a workload, and the plan in force, which the watch replaces.

    activations: every plan that was in force, oldest first.
    """

    id: str
    loaded: Loaded
    graph: Graph
    profile: Profile
    payloads: tuple[Forms, ...]
    addresses: dict[str, str]
    activations: list[Activation] = field(default_factory=list)
    _route: tuple[Plan, list[wire.Hop]] | None = None

    def activate(self, activation: Activation) -> None:
        """Send the next requests along this plan."""
        self.activations.append(activation)
        self._route = (activation.plan, self.hops(activation.plan))

    @property
    def route(self) -> tuple[Plan, list[wire.Hop]]:
        """The plan in force and its hops: one reference, so that a request sees one plan."""
        assert self._route is not None, "a workload is activated before it is used"
        return self._route

    def hops(self, plan: Plan) -> list[wire.Hop]:
        """The plan as the wire carries it."""
        return [wire.Hop(s.tier, self.addresses[s.tier], s.start, s.stop) for s in plan.stages]
