"""Which plans the oracle tries, which are the best, and where static-middle cuts."""

import pytest

from edgesplit import Goal, Graph, Link, Power, Profile, Tier
from experiments.paper_table.approaches import middle
from experiments.paper_table.oracle import Measured, best, candidates, scores
from experiments.shared.answer import Figures

TIERS = ("end", "edge", "cloud")
GRAPH = Graph("net", tuple("abcde"), (600, 500, 400, 300, 200, 4), (1,) * 5)
POWER = Power(1.0, 1.0, 1.0, 1.0)
SPEEDS = {"end": 1, "edge": 2, "cloud": 9}
CHAIN = Profile(
    tuple(Tier(name, (0.1 / speed,) * 5, POWER) for name, speed in SPEEDS.items()),
    tuple(
        Link(*pair, 0.001, 1e5)
        for pair in (("end", "edge"), ("edge", "end"), ("edge", "cloud"), ("cloud", "edge"))
    ),
)


def test_all_plans_are_tried_in_a_drawn_order_that_stays_the_same():
    found = candidates(GRAPH, CHAIN, Goal(), None)
    assert len(found) == len(set(found)) == 1 + 6 + 21  # 1, 2 and 3 tiers: C(5 + m - 1, m - 1)
    assert found == candidates(GRAPH, CHAIN, Goal(), None)
    assert [len(plan.route) for plan in found] != sorted(len(plan.route) for plan in found)


def test_the_plans_of_least_modelled_score_and_all_on_end():
    found = {str(plan) for plan in candidates(GRAPH, CHAIN, Goal(0.0, 0.0, 1.0), 2)}
    assert found == {
        "end:0-5",
        "end:0-0 | edge:0-0 | cloud:0-5",
        "end:0-0 | edge:0-1 | cloud:1-5",
    }


def test_the_best_are_those_of_least_score_whatever_their_order():
    measured = [
        Measured(f"end:0-{k}", 2, Figures(float(s), float(s), float(s)))
        for k, s in enumerate((4, 2, 3, 2), 1)
    ]
    found = scores(measured, Goal(), Figures(4.0, 4.0, 4.0))
    assert found["end:0-1"] == pytest.approx(1.0)
    assert best(found, 3) == best(dict(reversed(found.items())), 3)
    assert best(found, 3) == ["end:0-2", "end:0-4", "end:0-3"]


@pytest.mark.parametrize(
    ("layers", "plan"),
    [
        (20, "end:0-6 | edge:6-13 | cloud:13-20"),
        (38, "end:0-12 | edge:12-25 | cloud:25-38"),
        (2, "end:0-0 | edge:0-1 | cloud:1-2"),
    ],
)
def test_static_middle_cuts_at_the_thirds(layers, plan):
    graph = Graph("net", ("l",) * layers, (1,) * (layers + 1), (1,) * layers)
    assert str(middle(graph, TIERS)) == plan
