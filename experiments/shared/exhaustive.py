"""Every plan there is, one by one: the oracle the planner is checked against. Small graphs only."""

from collections.abc import Iterator
from itertools import combinations_with_replacement, product

from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.profile import Profile


def simple_routes(profile: Profile, most: int | None = None) -> Iterator[tuple[str, ...]]:
    """Every route from the entry tier over existing links that visits no tier twice.

    most: the most tiers of one route; None: all.
    """
    onward: dict[str, list[str]] = {name: [] for name in profile.names}
    for link in profile.links:
        onward[link.source].append(link.target)
    queue: list[tuple[str, ...]] = [(profile.entry_tier,)]
    while queue:
        route = queue.pop(0)
        yield route
        if len(route) == most:
            continue
        queue += [(*route, tier) for tier in onward[route[-1]] if tier not in route]


def every_plan(graph: Graph, profile: Profile, most: int | None = None) -> Iterator[Plan]:
    """Every plan over existing links: each simple route with each choice of cuts and runtimes.

    Constraints are not looked at, but for the most stages where that is given. With n layers, a
    route of m tiers has (n + m - 1 choose m - 1) choices of cuts; each tier that runs something
    multiplies them by its number of runtimes.
    """
    n = len(graph)
    for route in simple_routes(profile, most):
        for cuts in combinations_with_replacement(range(n + 1), len(route) - 1):
            yield from in_every_runtime(plan_along(route, cuts, n), profile)


def in_every_runtime(plan: Plan, profile: Profile) -> Iterator[Plan]:
    """The plan in every choice of runtimes that the tiers have layer times of."""
    busy = [stage.tier for stage in plan.stages if len(stage)]
    for runtimes in product(*(profile.tier(name).runtimes for name in busy)):
        yield plan.on(dict(zip(busy, runtimes, strict=True)))
