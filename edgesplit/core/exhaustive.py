"""Every plan there is, one by one: the oracle the planner is checked against. Small graphs only."""

from collections.abc import Iterator
from itertools import combinations_with_replacement

from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.profile import Profile


def simple_routes(profile: Profile) -> Iterator[tuple[str, ...]]:
    """Every route from the source over existing links that visits no tier twice."""
    onward: dict[str, list[str]] = {name: [] for name in profile.names}
    for link in profile.links:
        onward[link.source].append(link.target)
    queue: list[tuple[str, ...]] = [(profile.source,)]
    while queue:
        route = queue.pop(0)
        yield route
        queue += [(*route, tier) for tier in onward[route[-1]] if tier not in route]


def every_plan(graph: Graph, profile: Profile) -> Iterator[Plan]:
    """Every plan over existing links: each simple route with each choice of cuts.

    Constraints are not looked at. With n layers, a route of m tiers has (n + m - 1 choose m - 1).
    """
    n = len(graph)
    for route in simple_routes(profile):
        for cuts in combinations_with_replacement(range(n + 1), len(route) - 1):
            yield plan_along(route, cuts, n)
