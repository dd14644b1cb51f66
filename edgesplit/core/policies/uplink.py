"""How payloads get from one tier to another, and what two-tier policies share: one cut, one server.

The direct link where there is one, else relays that compute nothing. Costs are the policies' own.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.cost import Array, CostModel
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.planner.route import best_route
from edgesplit.core.profile import Profile
from edgesplit.errors import PlanError


@dataclass(frozen=True)
class Uplink:
    """A way from the first to the last tier of `route`, the tiers' numbers in the profile.

    ping_s: the latencies of all its links, there and back. s_per_byte: of a payload, there.
    reply_s_per_byte: of the answer, back. A route of one tier is no way at all: everything stays.
    """

    route: tuple[int, ...]
    ping_s: float = 0.0
    s_per_byte: float = 0.0
    reply_s_per_byte: float = 0.0

    @property
    def server(self) -> int:
        """The tier at its end."""
        return self.route[-1]

    def plan(self, profile: Profile, cut: int) -> Plan:
        """The plan that runs what is before the cut at its start and the rest at its end."""
        n = len(profile.tiers[0].layer_s)
        route = self.route[:1] if cut == n else self.route
        names = [profile.names[tier] for tier in route]
        return plan_along(names, [cut] * (len(route) - 1), n).on(profile.runtimes)


def uplink(
    model: CostModel, source: int, target: int, avoid: Collection[int] = ()
) -> Uplink | None:
    """The way between two tiers; relays that are not in `avoid` where no link is direct.

    Relays are those of least score for the input (best_route). None where no links lead there.
    """
    names, profile = model.profile.names, model.profile
    is_direct = profile.link(names[source], names[target]) is not None
    route = [source, target] if is_direct else best_route(model, source, target, avoid)
    if route is None:
        return None
    ping_s = s_per_byte = reply_s_per_byte = 0.0
    for here, there in pairwise(route):
        out = profile.link(names[here], names[there])
        back = profile.link(names[there], names[here])
        assert out is not None, "the route is along links"
        assert back is not None, "every link has its reverse"
        ping_s += out.latency_s + back.latency_s
        s_per_byte += 1 / out.bytes_per_s
        reply_s_per_byte += 1 / back.bytes_per_s
    return Uplink(tuple(route), ping_s, s_per_byte, reply_s_per_byte)


def uplinks(model: CostModel) -> tuple[Uplink, ...]:
    """What the entry tier can do: first to keep all, then each server that links lead to."""
    others = range(1, len(model.profile.tiers))
    found = (uplink(model, 0, server) for server in others)
    return (Uplink((0,)), *(one for one in found if one is not None))


def allowed_cuts(model: CostModel, ways: Sequence[Uplink]) -> NDArray[np.bool_]:
    """Which cut the goal's memory_bytes, min_end_layers and max_stages let each way have.

    Shape (ways, n + 1). At cut n everything stays on the entry tier, whichever the way.
    """
    weights, goal = model.weight_prefix, model.goal
    last = len(model.graph)
    allowed = np.zeros((len(ways), last + 1), dtype=bool)
    on_entry = weights <= model.memory_bytes[0]
    on_entry[: goal.min_end_layers] = False
    for row, way in enumerate(ways):
        fits = weights[-1] - weights <= model.memory_bytes[way.server]
        is_short = goal.max_stages is None or len(way.route) <= goal.max_stages
        allowed[row, :last] = on_entry[:last] & fits[:last] & (is_short and len(way.route) > 1)
        allowed[row, last] = on_entry[last]
    return allowed


def least_plan(model: CostModel, ways: Sequence[Uplink], *values: Array) -> Plan:
    """The plan of least value, of equal ones that of least next value; then the earlier way.

    values: (ways, n + 1) each. Raises PlanError where the goal's limits allow none.
    """
    allowed = allowed_cuts(model, ways)
    if not allowed.any():
        raise PlanError(
            f"{model.graph.name} cannot be cut in two within memory_bytes "
            f"{dict(model.goal.memory_bytes)}, min_end_layers {model.goal.min_end_layers} and "
            f"max_stages {model.goal.max_stages}; allow more, or use the policy 'score'"
        )
    columns = [np.where(allowed, value, np.inf).ravel() for value in values]
    first = int(np.lexsort([*columns[::-1], ~allowed.ravel()])[0])
    row, cut = divmod(first, len(model.graph) + 1)
    return ways[row].plan(model.profile, cut)
