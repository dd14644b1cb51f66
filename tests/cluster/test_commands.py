"""`edgesplit run` and `plan` as a stranger uses them, on the embedded cluster."""

import json
import os
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn
from waiting import explained

from edgesplit import EdgeSplit
from edgesplit.caller.inputs.images import load_image
from edgesplit.cli import main
from edgesplit.errors import RequestError

MODEL = "own_classifier:tiny"
CODE = """
from torch import nn

def tiny():
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.Conv2d(8, 8, 5, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )

def vector():
    return nn.Sequential(nn.Flatten(0), nn.Linear(3 * 224 * 224, 4))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, one_cluster):
    """A folder with a model and pictures; sessions share one cluster."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "own_classifier.py").write_text(CODE)
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "good.png")
    Image.fromarray(pixels[:, ::-1]).save(folder / "mirrored.png")
    (folder / "broken.png").write_bytes((folder / "good.png").read_bytes()[:5000])
    os.mkfifo(folder / "pipe.png")
    odd = folder / os.fsdecode(b"odd\xff\n\t\x1b[2J\xe2\x80\xae.png")
    odd.write_bytes((folder / "good.png").read_bytes())
    return folder


@pytest.fixture
def invoke(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    return lambda *words: CliRunner().invoke(main, list(words))


ODD = os.fsdecode(b"odd\xff\n\t\x1b[2J\xe2\x80\xae.png")
SHOWN = r"odd\xff\n\t\x1b[2J\u202e.png"


def test_every_picture_has_its_row_and_every_fault_its_line(invoke):
    given = ["broken.png", "good.png", "pipe.png", ODD, "good.png", ".", "none.png", "mirrored.png"]
    found = invoke("run", MODEL, *given)
    assert found.exit_code == 1, found.output
    head, *rows = found.stdout.splitlines()[:-2]
    assert [row.split(" ")[0] for row in rows] == ["good.png", SHOWN, "good.png", "mirrored.png"]
    at = [re.search(r"\bend:|\bend\[", row).start() for row in rows]
    assert at == [head.index("plan")] * 4, "columns stay aligned"
    errors = found.stderr.splitlines()
    assert all(line.startswith("edgesplit: ") for line in errors)
    names = ("'broken.png'", "'pipe.png'", "'.'", "'none.png'")
    assert [sum(name in line for line in errors) for name in names] == [1] * 4
    assert "Traceback" not in found.output


def test_rows_are_json_in_the_order_given(invoke):
    found = invoke("run", MODEL, "none.png", "good.png", ODD, "good.png", "--json")
    assert found.exit_code == 1, found.output
    told = json.loads(found.stdout_bytes.decode("utf-8", "strict"))
    assert [row["image"] for row in told["images"]] == [
        "none.png", "good.png", ODD.replace("\udcff", r"\xff"), "good.png"
    ]  # fmt: skip
    assert [bool(row["error"]) for row in told["images"]] == [True, False, False, False]
    assert told["images"][1]["class_index"] == told["images"][3]["class_index"]
    assert told["emulated"] is True


def test_all_is_well(invoke):
    found = invoke("run", MODEL, "good.png", "good.png")
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.count("good.png") == 2


def test_a_request_that_fails_keeps_no_other_from_its_answer(invoke, monkeypatch):
    given = EdgeSplit.infer

    def infer(self, x):
        if torch.equal(x.tensor(), load_image("mirrored.png")):
            raise RequestError("tier 'edge' refused it")
        return given(self, x)

    monkeypatch.setattr(EdgeSplit, "infer", infer)
    found = invoke("run", MODEL, "mirrored.png", "good.png")
    assert found.exit_code == 1
    assert "good.png" in found.stdout
    assert found.stderr == "edgesplit: 'mirrored.png': tier 'edge' refused it\n"


def test_a_model_that_is_no_classifier_ends_it(invoke):
    found = invoke("run", "own_classifier:vector", "good.png", "good.png")
    assert found.exit_code == 1
    assert found.stderr.count("`run` is for classifiers") == 1


def test_the_first_line_is_the_best_plan_of_the_table_and_the_matrix(invoke):
    found = invoke("plan", MODEL, "--image", "good.png")
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    plan = lines[0].partition(": ")[2]
    rows = [re.fullmatch(r"(chosen|in force|other route|one tier) +(\S.*?) +(\d+\.\d{4}) .*", line)
            for line in lines]  # fmt: skip
    rows = [row for row in rows if row]
    assert (rows[0][1], rows[0][2]) == ("chosen", plan)
    assert float(rows[0][3]) == min(float(row[3]) for row in rows), found.output
    assert [row[2] for row in rows].count(plan) == 1
    marked = re.findall(r">(\d+\.\d{4})", found.stdout)
    assert [float(score) for score in marked] == [pytest.approx(float(rows[0][3]), abs=1e-4)]
    is_kept = any(row[1] == "in force" for row in rows)
    assert is_kept == lines[1].startswith("not in force: ")


def test_the_same_as_json(invoke):
    told = json.loads(invoke("plan", MODEL, "--json").stdout)
    others = [*told["runners_up"], *told["trivial"]]
    assert told["chosen"]["score"] <= min(cost["score"] for cost in others if cost["feasible"])
    i, j = told["matrix"]["best"]
    assert told["matrix"]["score"][i][j] == pytest.approx(told["chosen"]["score"], rel=1e-4)
    is_running = told["running"]["plan"] == told["chosen"]["plan"]
    assert is_running == (not told["why_not_running"])


def test_policies_are_compared(invoke):
    told = json.loads(invoke("plan", MODEL, "--compare", "--json").stdout)
    by_name = {row["policy"]: row for row in told["policies"]}
    assert {"score", "fastest", "end-only", "edge-only", "cloud-only"} <= set(by_name)
    assert by_name["score"]["cost"]["score"] <= by_name["end-only"]["cost"]["score"]
    assert told["matrix"] is not None
    found = invoke("plan", MODEL, "--compare", "--policy", "cloud-only")
    assert "what each policy would choose now" in found.stdout.lower()
    assert "S(i, j)" not in found.stdout
    assert not {"end-only", "cloud-only"} - {row.split(" ")[0] for row in found.stdout.splitlines()}


def test_a_given_policy_is_answered_with_its_plan(invoke):
    found = invoke("plan", MODEL, "--policy", "cloud-only")
    first = found.stdout.splitlines()[0]
    assert re.search(r"end:0-0 \| edge:0-0 \| cloud(\[onnx\])?:0-7$", first), found.output


@pytest.mark.parametrize("goal", [{}, {"policy": "end-only"}])
def test_a_plan_stands_still_once_runtimes_are_measured(one_cluster, goal):
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    with EdgeSplit(model, **goal) as split:
        split.infer(torch.rand(1, 8))
        split.wait_for_runtimes()
        assert split.wait_for_plan(60.0)
        found = explained(split)
        assert (found.running.plan == found.chosen.plan) or found.why_not_running
