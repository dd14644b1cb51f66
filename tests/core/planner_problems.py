"""Random planning problems, small enough to try every plan of them."""

from dataclasses import replace

from hypothesis import strategies as st

from edgesplit.core.cost import CostModel
from edgesplit.core.fleet.pressure import NO_PRESSURE, Pressure
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from experiments.shared.exhaustive import every_plan

WEIGHTS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.6, 0.2, 0.2), (0.2, 0.6, 0.2))

seconds = st.sampled_from((0.0, 0.1, 0.3, 1.0, 1.7, 4.0))
watts = st.sampled_from((0.0, 0.5, 1.0, 3.3, 9.0))
sizes = st.integers(0, 9)
pressures = st.sampled_from((NO_PRESSURE, Pressure(0.5), Pressure(3.0, 0.2), Pressure(0.0, 9.0, 1)))


@st.composite
def problems(draw, most_rows=0, has_prices=False):
    """(graph, profile, goal) of 1-7 layers and 2-4 tiers, any links; no latency limit.

    most_rows: besides the one in use, each tier has up to so many; fewer layers then, lest there be
    too many plans to try. has_prices: tiers may be under pressure.
    """
    tiers = draw(st.integers(2, 4 if not most_rows else 3))
    n = draw(st.integers(1, (7 if tiers < 4 else 5) - most_rows))
    graph = Graph(
        "g",
        tuple(f"l{k}" for k in range(n)),
        tuple(draw(st.lists(sizes, min_size=n + 1, max_size=n + 1))),
        tuple(draw(st.lists(sizes, min_size=n, max_size=n))),
    )
    measured = tuple(
        Tier(
            f"t{t}",
            tuple(draw(st.lists(seconds, min_size=n, max_size=n))),
            Power(*draw(st.tuples(watts, watts, watts, watts))),
            draw(st.sampled_from((1.0, 2.0))),
            layer_times=tuple(
                LayerTimes(runtime, tuple(draw(st.lists(seconds, min_size=n, max_size=n))))
                for runtime in ("onnx", "compile")[: draw(st.integers(0, most_rows))]
            ),
            pressure=draw(pressures) if has_prices else NO_PRESSURE,
        )
        for t in range(tiers)
    )
    links = []
    for u in range(tiers):
        for v in range(u + 1, tiers):
            if draw(st.sampled_from((True, True, False))):
                for a, b in ((u, v), (v, u)):
                    rate = draw(st.sampled_from((1.0, 10.0, 100.0)))
                    links.append(Link(f"t{a}", f"t{b}", draw(seconds) / 10, rate))
    names = [tier.name for tier in measured]
    goal = Goal(
        *draw(st.sampled_from(WEIGHTS)),
        min_end_layers=draw(st.sampled_from((0, 0, 1, n))),
        memory_bytes=draw(st.dictionaries(st.sampled_from(names), st.integers(0, 40), max_size=2)),
        boundary=draw(st.sampled_from(("marginal", "gross"))),
    )
    return graph, Profile(measured, tuple(links)), goal


def all_costs(problem):
    model = CostModel(*problem)
    return [model.cost(plan) for plan in every_plan(*problem[:2])]


def with_limit(problem, share):
    """The problem with a limit at a share of the latencies of its allowed plans, sorted.

    A hair above it: two plans of one latency, added up in another order, differ by rounding.
    """
    latencies = sorted({cost.latency_s for cost in all_costs(problem) if cost.feasible})
    limit_s = latencies[int(share * (len(latencies) - 1))] * (1 + 1e-12)
    return (*problem[:2], replace(problem[2], latency_limit_s=limit_s))


def has_plans(problem):
    """Whether any plan is allowed, and all of them take some time, so that a limit can be set."""
    latencies = [cost.latency_s for cost in all_costs(problem) if cost.feasible]
    return bool(latencies) and min(latencies) > 0


def tempting(n=8):
    """Layers are quick on t1 and t2 in turn and links are nearly free: walks want to go to and fro.

    Exactly one visit each is allowed.
    """
    quick, slow = 0.01, 1.0
    odd = tuple(quick if k % 2 else slow for k in range(n))
    even = tuple(slow if k % 2 else quick for k in range(n))
    power = Power(1.0, 1.0, 1.0, 1.0)
    names = ("t0", "t1", "t2", "t3")
    graph = Graph("tempting", tuple(f"l{k}" for k in range(n)), (1,) * (n + 1), (1,) * n)
    tiers = (
        Tier("t0", (slow,) * n, power),
        Tier("t1", odd, power),
        Tier("t2", even, power),
        Tier("t3", (0.5,) * n, power),
    )
    links = tuple(Link(a, b, 1e-4, 1e6) for a in names for b in names if a != b)
    return graph, Profile(tiers, links), Goal()
