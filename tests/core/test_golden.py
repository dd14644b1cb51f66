"""Golden plans: what is decided today for known models and conditions, one CSV line each.

A change of a line is a change of behaviour; the test prints the new file.
"""

import csv
import io
from pathlib import Path

from planner_cases import mobilenet_like, three_tiers, vgg_like, with_rows

from edgesplit.core.goal import Goal
from edgesplit.core.policies.policy import decide

PATH = Path(__file__).with_name("golden_plans.csv")
MODELS = {"vgg-like": vgg_like, "mobilenet-like": mobilenet_like}


def runtimes(text):
    """By tier, from text such as `end: onnx compile; edge: onnx`."""
    parts = [part.partition(":") for part in text.split(";") if part]
    return {tier.strip(): names.split() for tier, _, names in parts}


def decided(line):
    """The same line with the plan that is decided now."""
    graph, work = MODELS[line["model"]]()
    profile = three_tiers(
        work, float(line["wifi_mbit"]), float(line["edge_slowdown"]), line["direct"] == "yes"
    )
    profile = with_rows(profile, graph, runtimes(line["runtimes"]))
    weights = [float(weight) for weight in line["weights"].split("/")]
    limit_ms = line["limit_ms"]
    goal = Goal(
        *weights,
        latency_limit_s=float(limit_ms) / 1e3 if limit_ms else None,
        min_end_layers=int(line["min_end_layers"]),
    )
    decision = decide(graph, profile, goal)
    feasible = "yes" if decision.cost.feasible else "no"
    return {**line, "plan": str(decision.plan), "feasible": feasible}


def test_golden_plans():
    with PATH.open(newline="") as file:
        golden = list(csv.DictReader(file))
    now = [decided(line) for line in golden]
    text = io.StringIO()
    writer = csv.DictWriter(text, golden[0])
    writer.writeheader()
    writer.writerows(now)
    assert now == golden, (
        f"plans changed; if that is meant, golden_plans.csv is now\n{text.getvalue()}"
    )
