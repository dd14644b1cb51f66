"""The replay form: every policy under one condition, simulated. Deterministic for a seed."""

from collections.abc import Mapping, Sequence

import numpy as np

from edgesplit.config import Config
from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.policies.policy import Policy, fastest, score
from edgesplit.core.policies.published import PUBLISHED
from edgesplit.core.profile import Profile
from edgesplit.errors import UnknownNameError
from experiments.head_to_head.condition import Condition, Scene, scene_of
from experiments.head_to_head.control_loop import ControlLoop
from experiments.head_to_head.each_request import EachRequest, ToldBefore
from experiments.head_to_head.hindsight import MOST_TIERS, clairvoyant, cuts_along, screened
from experiments.head_to_head.rows import (
    BEST_STATIC,
    CLAIRVOYANT,
    OURS,
    RANDOM,
    Cell,
    Kind,
    Row,
    rows_of,
)
from experiments.head_to_head.served import Served
from experiments.head_to_head.simulation import Driver, Simulation
from experiments.head_to_head.table import Table
from experiments.head_to_head.world import Noise, World, drawn_noise
from experiments.shared.exhaustive import simple_routes

UNHEDGED = "edgesplit, no hedge"
TOLD = {"score, told": score, "fastest, told": fastest}  # our planner without the loop
GOALS = {"latency": Goal(0.0, 0.0, 1.0), "default": Goal()}
_SHORTLIST = 4  # plans that are simulated event by event, of those that look best
_LOST = 10.0  # times what the entry tier takes: for an answer that never comes


def policies_named(names: Sequence[str]) -> tuple[str, ...]:
    """Those published, and our planner without the loop; all of them where none is named.

    Raises UnknownNameError.
    """
    known = (*PUBLISHED, *TOLD)
    for name in names:
        if name not in known:
            raise UnknownNameError(f"no policy {name!r} to replay; there are {', '.join(known)}")
    return tuple(names) or known


def replayed(
    table: Table, condition: Condition, policies: Sequence[str], requests: int, seed: int
) -> tuple[list[Row], list[Row]]:
    """Rows of every policy for every goal under that condition, and where ours lost and why."""
    scene = scene_of(table, condition, requests, seed)
    noise = drawn_noise(scene.world, requests, scene.generator("noise"))
    player = _Player(scene, noise)
    rows, lost = list[Row](), list[Row]()
    for name, goal in GOALS.items():
        cell = player.cell(name, goal, policies)
        found, why = rows_of(cell)
        rows += found
        lost += [why] if why else []
    return rows, lost


class _Player:
    """Plays policies in one scene; what goals share is made once."""

    def __init__(self, scene: Scene, noise: Noise) -> None:
        self._scene, self._noise, self._world = scene, noise, scene.world
        self._told = ToldBefore(scene.world)
        self._screened = screened(scene.world, noise, scene.at_s)

    def cell(self, name: str, goal: Goal, policies: Sequence[str]) -> Cell:
        """All policies under that goal."""
        scene, world = self._scene, self._world
        cost = CostModel(world.graph, world.profile, goal)
        found: dict[str, tuple[Served, Kind, str]] = {}
        for label, share in ((OURS, Config().hedge), (UNHEDGED, 0.0)):
            found[label] = (self._play(ControlLoop(share), goal), "ours", "")
        for label in policies:
            policy: Policy = TOLD[label] if label in TOLD else PUBLISHED[label].policy
            kind: Kind = "planner" if label in TOLD else "published"
            found[label] = (self._play_each(policy, goal), kind, "")
        for label, plan, size in trivial_plans(scene.table):
            served = self._play_each(_always(plan), goal, size)
            found[label] = (served, "trivial", str(plan))
        generator = scene.generator("random")
        found[RANDOM] = (self._play_each(_any_plan(world, generator), goal), "hindsight", "")
        found[BEST_STATIC] = self._best_static(cost, goal)
        served = clairvoyant(world, self._noise, scene.at_s, cost)
        found[CLAIRVOYANT] = (served, "hindsight", "")
        return Cell(
            scene.table.name,
            scene.condition.name,
            name,
            {label: one[0] for label, one in found.items()},
            {label: one[1] for label, one in found.items()},
            {label: one[2] for label, one in found.items()},
            cost,
            scene.table.limit_s,
            scene.condition.is_steady,
            scene.generator(f"bootstrap {name}"),
        )

    def _play(self, driver: Driver, goal: Goal, input_bytes: int | None = None) -> Served:
        simulation = Simulation(self._world, goal, self._noise, driver, input_bytes)
        return simulation.run(self._scene.at_s)

    def _play_each(self, policy: Policy, goal: Goal, input_bytes: int | None = None) -> Served:
        return self._play(EachRequest(policy, self._told, goal), goal, input_bytes)

    def _best_static(self, cost: CostModel, goal: Goal) -> tuple[Served, Kind, str]:
        """Of the plans that look best as arrays, and those on one tier, the best as simulated."""
        lost_s = _LOST * self._scene.table.entry_s
        plans = self._screened.best(cost, _SHORTLIST, lost_s)
        plans += [plan for _, plan, size in trivial_plans(self._scene.table) if size is None]
        played = [(self._play_each(_always(plan), goal), plan) for plan in dict.fromkeys(plans)]
        served, plan = min(played, key=lambda pair: float(pair[0].scores(cost).mean()))
        return served, "hindsight", str(plan)


def trivial_plans(table: Table) -> list[tuple[str, Plan, int | None]]:
    """All layers on one tier, by the shortest route: name, plan, and bytes of another input.

    With the table's other forms of the input where it has any, else with its own.
    """
    routes: dict[str, tuple[str, ...]] = {}
    for route in simple_routes(table.profile):
        routes.setdefault(route[-1], route)
    found = list[tuple[str, Plan, int | None]]()
    for tier, route in routes.items():
        plan = plan_along(route, (0,) * (len(route) - 1), len(table.graph))
        forms: Mapping[str, int | None] = table.inputs if len(route) > 1 else {}
        for form, size in (forms or {"": None}).items():
            found.append((f"{tier}-only{f', {form}' if form else ''}", plan, size))
    return found


def _always(plan: Plan) -> Policy:
    """That plan, whatever is believed."""

    def policy(graph: Graph, profile: Profile, goal: Goal) -> Plan:
        return plan

    return policy


def _any_plan(world: World, generator: np.random.Generator) -> Policy:
    """Any plan that can run, each as likely."""
    n, plans = len(world.graph), list[Plan]()
    for route in simple_routes(world.profile, MOST_TIERS):
        plans += [plan_along(route, cuts, n) for cuts in cuts_along(n, len(route) - 1)]

    def policy(graph: Graph, profile: Profile, goal: Goal) -> Plan:
        return plans[int(generator.integers(len(plans)))]

    return policy
