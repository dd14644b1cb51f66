"""DADS: the least cut of a model's graph between edge and cloud, for the light and the heavy load.

Source: Hu, Bao, Wang, Liu, INFOCOM 2019, doi 10.1109/INFOCOM.2019.8737614. Read: the full text.
Rule: T_e, T_t, T_c are the seconds of edge, uploads (bytes / bandwidth) and cloud. Where the split
of least sum keeps max(T_e, T_t, T_c) below 1 / Q, with Q inputs a second, it is taken (light load).
Else one of least max(T_e, T_t, T_c), looked for as the paper does: weights of T_e and T_c on a
grid, a minimum cut for each, and a finer grid around the best, until that gains nothing.
Ours: the product cuts a linear order of layers, so its graph is a chain with the live bytes of each
cut, where a minimum cut is the least over cuts; Dag solves any other. The grid's bounds, which the
paper leaves open, are 1/64 to 64. Several servers are tried, each by the same rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np

from edgesplit.core.cost import Array, CostModel
from edgesplit.core.given import number_above_0
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.dag import Dag, SplitSeconds
from edgesplit.core.policies.uplink import Uplink, allowed_cuts, least_plan, uplinks
from edgesplit.core.profile import Profile
from edgesplit.errors import PlanError

Where = TypeVar("Where")
Split = tuple[Where, SplitSeconds]
# For each row (a, c) of weights the split of least a * T_e + T_t + c * T_c.
Solve = Callable[[Array], Sequence[Split[Where]]]
# The grid: in steps of half a power of 2, so many to either side; each next one so much finer.
STEP, REACH, FINER = 0.5, 12, 4
# The share of its value that a finer grid has to gain to be followed, and how many there may be.
LEAST_GAIN, MOST_GRIDS = 1e-3, 6


@dataclass(frozen=True)
class Dads:
    """The policy. rate_per_s: Q, the inputs that come a second.

    No policy is told how often requests come, so the rate is a setting, as the frame rate of the
    paper's camera is: one a second where nothing else is given. Raises PlanError for none above 0.
    """

    rate_per_s: float = 1.0

    def __post_init__(self) -> None:
        number_above_0("rate_per_s", self.rate_per_s, PlanError)

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy. Raises PlanError."""
        model = CostModel(graph, profile, goal)
        ways = uplinks(model)
        chains = _chains(model, ways)
        lights = list(map(light, chains))
        values = np.full((len(ways), len(graph) + 1), np.inf)
        for row, (cut, seconds) in enumerate(lights):
            if max(seconds) < 1 / self.rate_per_s:
                values[row, cut] = sum(seconds)
        if np.isinf(values).all():
            for row, (cut, seconds) in enumerate(map(heavy, chains)):
                values[row, cut] = max(seconds)
        return least_plan(model, ways, values)


def light(solve: Solve[Where]) -> Split[Where]:
    """The split of least T_e + T_t + T_c, with these three."""
    return solve(np.ones((1, 2)))[0]


def heavy(solve: Solve[Where]) -> Split[Where]:
    """The split of the smallest max(T_e, T_t, T_c) that the grids find; at most thrice the least.

    The bound holds because the weights (1, 1) are among the first grid's.
    """
    step = STEP
    best = _best_on(solve, (0.0, 0.0), step, REACH)
    for _ in range(MOST_GRIDS - 1):
        step /= FINER
        found = _best_on(solve, best[0], step, FINER)
        gain = max(best[1][1]) - max(found[1][1])
        best = min(best, found, key=_rank)
        if not gain > LEAST_GAIN * max(best[1][1]):
            break
    return best[1]


_Point = tuple[float, float]  # the binary logarithms of two weights


def _best_on(
    solve: Solve[Where], middle: _Point, step: float, reach: int
) -> tuple[_Point, Split[Where]]:
    """The best of a grid around a point, and which of its points it is of."""
    offsets = [step * k for k in range(-reach, reach + 1)]
    points = [(middle[0] + a, middle[1] + c) for a, c in product(offsets, offsets)]
    splits = solve(np.exp2(np.array(points)))
    return min(zip(points, splits, strict=True), key=_rank)


def _rank(found: tuple[_Point, Split[Where]]) -> tuple[float, float]:
    _, (_, seconds) = found
    return max(seconds), sum(seconds)


def _chains(model: CostModel, ways: Sequence[Uplink]) -> list[Solve[int]]:
    """Of each way what splits its chain: at a cut, where the layers before it are on the edge."""
    allowed = allowed_cuts(model, ways)
    sizes, prefix_s = np.array(model.graph.payload_bytes, dtype=float), model.prefix_s[0]
    solvers = []
    for row, way in enumerate(ways):
        upload_s = way.s_per_byte * sizes
        upload_s[-1] = 0.0
        upload_s[~allowed[row]] = np.inf
        cloud_s = prefix_s[way.server, -1] - prefix_s[way.server]
        solvers.append(chain(np.stack([prefix_s[0], upload_s, cloud_s])))
    return solvers


def chain(seconds: Array) -> Solve[int]:
    """What splits a chain of layers. seconds: of edge, upload and cloud at each cut, (3, n + 1)."""
    edge_s, upload_s, cloud_s = seconds

    def solve(weights: Array) -> list[Split[int]]:
        totals = weights[:, :1] * edge_s + upload_s + weights[:, 1:] * cloud_s
        cuts = totals.argmin(axis=1)
        columns = seconds[:, cuts].T.tolist()
        return [(cut, (a, b, c)) for cut, (a, b, c) in zip(cuts.tolist(), columns, strict=True)]

    return solve


def any_graph(dag: Dag) -> Solve[frozenset[int]]:
    """What splits any graph, by minimum cuts: the vertices on the edge."""

    def solve(weights: Array) -> list[Split[frozenset[int]]]:
        sides = [dag.cheapest(edge, cloud) for edge, cloud in weights.tolist()]
        return [(side, dag.seconds(side)) for side in sides]

    return solve
