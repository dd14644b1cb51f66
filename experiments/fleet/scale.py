"""How the processor time of a round grows with the number of devices."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.fleet.devices import capacities, devices
from experiments.fleet.fit import fitted
from experiments.fleet.plans import Fleet
from experiments.fleet.rounds import Market, whole

DEVICES_PER_EDGE = 33


def scale_row(count: int, rounds: int, step: Callable[[], None]) -> dict[str, Any]:
    """A fleet of so many devices: measured processor seconds, and the gap to the dual bound.

    round_s: of planning for all devices and of the tiers' prices, the median. setup_s: of making
    the devices and their costs, which each has anyway. fit_s: of moving what is left over.
    """
    edges = max(2, round(count / DEVICES_PER_EDGE))
    began_s = time.process_time()
    fleet = Fleet(devices(np.random.default_rng(5), count, edges), edges)
    setup_s = time.process_time() - began_s
    scene = whole(fleet, capacities(edges))
    market, seconds, bound = Market(scene), [], -np.inf
    for number in range(rounds):
        began_s = time.process_time()
        market.round()
        seconds.append(time.process_time() - began_s)
        if number % 5 == 0 or number == rounds - 1:
            bound = max(bound, _dual_bound(market))
        step()
    began_s = time.process_time()
    plans = fitted(scene, market.values, market.choice)
    return {
        "devices": count,
        "edges": edges,
        "rounds": rounds,
        "setup_s": setup_s,
        "round_s": statistics.median(seconds),
        "all_rounds_s": sum(seconds),
        "fit_s": time.process_time() - began_s,
        "gap_to_dual": scene.score(plans) / bound - 1,
        "worst_fitted": float(scene.demand(plans).max()),
    }


def slope(rows: Sequence[dict[str, Any]], least: int) -> float:
    """The exponent of a round's growth over devices, from so many on; least squares on logs."""
    large = [row for row in rows if row["devices"] >= least]
    x, y = (np.log([row[key] for row in large]) for key in ("devices", "round_s"))
    return float(np.polyfit(x, y, 1)[0])


def _dual_bound(market: Market) -> float:
    """No plans have a lower mean score than this, whatever the prices (Lagrangian)."""
    scene, prices = market.scene, market.values
    fleet, choice = scene.fleet, scene.plan(prices)
    use = fleet.rate_per_s[:, None] * choice.use_s
    whole_cost = fleet.weight @ choice.score + (use * prices[fleet.tiers]).sum()
    return float((whole_cost - prices @ scene.capacity) / fleet.weight.sum())
