"""The comparison of runtimes: its verdicts as exact numbers, and one quick run for real."""

import csv
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.plan import parse_plan
from edgesplit.node.runtime.measure import Shape
from experiments.runtimes.__main__ import main
from experiments.runtimes.parts import part_bounds
from experiments.runtimes.plans import predicted_s, sample_plans
from experiments.runtimes.process import answer
from experiments.runtimes.verdicts import part_rows, prediction, verdicts
from experiments.shared.resume import FILE

ROOT = Path(__file__).parents[2]
OPTIONS = ["--quick", "--models", "tiny_net:make", "--rounds", "3", "--plans", "6"]


def part(runtime, latency_s, name="whole"):
    return {"runtime": runtime, "part": name, "latency_s": latency_s, "cpu_s": latency_s / 2}


def plan(ranges, error):
    return {"ranges": ranges, "error": 2 * error, "cpu_error": error}


def entry(**changed):
    found = {
        "model": "vgg16",
        "chosen": "onnx",
        "parts": [part("torch", 0.3), part("onnx", 0.15), part("torch", 0.1, "last third")],
        "plans": [plan(1, -0.02), plan(2, 0.01), plan(2, -0.02), plan(3, -0.2)],
    }
    return {**found, **changed}


def test_speedups_are_against_eager_torch_on_the_same_part():
    assert [row["speedup"] for row in part_rows(entry())] == pytest.approx([1.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("layer_s", "parts"),
    [
        ((1.0, 1.0, 1.0), {"first third": (0, 1), "middle third": (1, 2), "last third": (2, 3)}),
        ((1.0, 9.0), {"part 1 of 2": (0, 1), "part 2 of 2": (1, 2)}),
        ((5.0,), {"part 1 of 1": (0, 1)}),
    ],
)
def test_parts_are_called_thirds_where_there_are_three(layer_s, parts):
    shape = Shape(layer_s, (1,) * (len(layer_s) + 1))
    assert part_bounds(shape) == {"whole": (0, len(layer_s)), **parts}


def test_prediction():
    found = prediction(entry())
    assert found["cpu_error_median"] == pytest.approx(0.02)
    assert found["error_median"] == pytest.approx(0.04)
    assert found["error_p90"] == pytest.approx(0.04)
    biases = [found[f"bias_{ranges}"] for ranges in (1, 2, 3)]
    assert biases == pytest.approx([-0.02, -0.005, -0.2])
    assert prediction(entry(plans=[plan(1, 0.1)]))["bias_3"] is None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [True, True, True]),
        ({"chosen": "torch"}, [True, False, True]),
        ({"plans": [plan(1, 0.03)]}, [True, True, False]),
        ({"parts": [part("torch", 0.3), part("onnx", 0.21)]}, [False, True, True]),
        ({"model": "resnet50"}, [True, True]),
        ({"parts": [part("torch", 0.3)], "chosen": "torch"}, [True, True]),
    ],
)
def test_verdicts(changed, expected):
    assert [row["reached"] for row in verdicts(entry(**changed))] == expected


def test_sampled_plans_are_the_same_each_time_and_leave_no_range_empty():
    plans = sample_plans(6, ("torch", "onnx"), 40)
    assert plans == sample_plans(6, ("torch", "onnx"), 40)
    assert {len(one.stages) for one in plans} == {1, 2, 3}
    assert all(len(stage) for one in plans for stage in one.stages)
    assert {stage.runtime for one in plans for stage in one.stages} == {"torch", "onnx"}
    assert len(sample_plans(1, ("torch",), 3)[0].stages) == 1


def test_a_plan_takes_its_ranges_seconds_in_their_runtimes():
    rows = {
        "torch": LayerTimes("torch", (1.0, 2.0, 4.0)),
        "onnx": LayerTimes("onnx", (0.1, 0.2, 0.4)),
    }
    assert predicted_s(parse_plan("end:0-1 | edge[onnx]:1-3"), rows) == pytest.approx(1.6)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """In this process, since each of its own would load torch anew."""
    folder, threads = tmp_path_factory.mktemp("runtimes") / "out", torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.runtimes.__main__.ask", answer)
        yield folder, CliRunner().invoke(main, ["--out", str(folder), *OPTIONS])
    torch.set_num_threads(threads)


def tiling(stops):
    """Ranges that end there, the first one at 0, the last one at the tiny net's six layers."""
    assert stops[-1] == 6
    return [[start, stop] for start, stop in pairwise([0, *stops])]


def table(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_what_is_written(played):
    folder, outcome = played
    assert outcome.exit_code == 0, outcome.output
    told = json.loads((folder / "summary.json").read_text())
    assert told["provenance"].startswith("measured")
    names = ("torch", "torch-channels-last", "onnx")
    assert {row["runtime"] for row in told["rows"]} == set(names)
    assert max(row["relative_error"] for row in told["rows"]) < 1e-4
    assert [row["runtime"] for row in told["first_use"]] == list(names)
    assert told["chosen"]["tiny_net:make"] in names
    assert len(told["verdicts"]) == 2
    assert len(table(folder / "plans.csv")) == 6
    parts = list(dict.fromkeys((row["part"], row["start"], row["stop"]) for row in told["rows"]))
    assert parts[0] == ("whole", 0, 6)
    assert [cut for _, *cut in parts[1:]] == tiling([stop for *_, stop in parts[1:]])
    written = [(row["runtime"], row["part"]) for row in table(folder / "runtimes.csv")]
    assert written == [(runtime, part) for part, *_ in parts for runtime in names]
    assert len(table(folder / "first_use.csv")) == len(names)
    assert (folder / "runtimes.png").stat().st_size > 10_000
    assert "tiny_net:make: median error of prediction" in outcome.output


def test_again_measures_nothing(played):
    folder, _ = played
    before = (folder / FILE).read_bytes()
    outcome = CliRunner().invoke(main, ["--out", str(folder), *OPTIONS])
    assert outcome.exit_code == 0, outcome.output
    assert (folder / FILE).read_bytes() == before


def test_a_model_that_is_not_there_is_told_in_a_paragraph(tmp_path):
    outcome = CliRunner().invoke(main, ["--quick", "--models", "vgg61", "--out", str(tmp_path)])
    assert outcome.exit_code == 1
    assert "no model 'vgg61'" in outcome.output
    assert "Traceback" not in outcome.output


def test_it_needs_no_ray():
    code = "import sys; sys.modules['ray'] = None; import experiments.runtimes.__main__"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
