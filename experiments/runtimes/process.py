"""A measurement in a process of its own, with the allocator settings of a tier.

    python -m experiments.runtimes.process REQUEST

REQUEST and the last line printed are JSON: a model in all runtimes, or the first use of one.
"""

import json
import os
import subprocess
import sys
from typing import Any

from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import TORCH, LayerTimes
from edgesplit.core.policies.policy import decide
from edgesplit.core.power import Power
from edgesplit.core.profile import Profile, Tier
from edgesplit.errors import EdgeSplitError, RuntimeUnavailableError
from edgesplit.node.process.allocator import ALLOCATOR_ENV
from experiments.runtimes.bench import bench_of
from experiments.runtimes.first_use import measure_first_use
from experiments.runtimes.parts import measure_parts
from experiments.runtimes.plans import measure_plans, sample_plans

_TIMEOUT_S = 3600.0
Request = dict[str, Any]


def ask(request: Request) -> dict[str, Any]:
    """What `answer` gives in a fresh process. Raises EdgeSplitError with its last words."""
    # A model of the caller's own package is found where the caller finds it.
    paths = os.pathsep.join([os.getcwd(), *filter(None, sys.path)])
    command = [sys.executable, "-m", "experiments.runtimes.process", json.dumps(request)]
    env = {**os.environ, **ALLOCATOR_ENV, "PYTHONPATH": paths}
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EdgeSplitError(f"measuring {request} took over {_TIMEOUT_S:g} s") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise EdgeSplitError(f"measuring {request} ended with {done.returncode}: {last[0]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def answer(request: Request) -> dict[str, Any]:
    """Measure what is asked for: {"kind": "model" or "first_use", "model": ..., ...}."""
    if request["kind"] == "model":
        return _model(request)
    try:
        return measure_first_use(request["model"], request["runtime"])
    except RuntimeUnavailableError as error:
        return {"runtime": request["runtime"], "missing": str(error)}


def _model(request: Request) -> dict[str, Any]:
    bench = bench_of(request["model"], request["runtimes"])
    plans = sample_plans(len(bench.graph), list(bench.rows), request["plans"])
    begun = os.getloadavg()[0]
    return {
        "chosen": _chosen(bench.graph, list(bench.rows.values())),
        "row_s": {name: row.total_s for name, row in bench.rows.items()},
        "cpu_row_s": {name: row.total_s for name, row in bench.cpu_rows.items()},
        "missing": dict(bench.missing),
        "parts": measure_parts(bench, request["rounds"]),
        "plans": measure_plans(bench, plans, request["plan_rounds"]),
        "load_average": [begun, os.getloadavg()[0]],
    }


def _chosen(graph: Graph, rows: list[LayerTimes]) -> str:
    """The runtime that the joint planner takes where one tier has to do everything."""
    torch_row, *others = rows
    power = Power(1.0, 1.0, 1.0, 1.0)  # of one tier: any watts rank its runtimes alike
    tier = Tier("end", torch_row.layer_s, power, runtime=TORCH, layer_times=tuple(others))
    return decide(graph, Profile((tier,), ()), Goal()).plan.stages[0].runtime


if __name__ == "__main__":
    print(json.dumps(answer(json.loads(sys.argv[1]))))
