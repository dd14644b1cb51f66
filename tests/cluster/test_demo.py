"""The demo end to end with few requests: real cluster, emulated tiers and links."""

import csv
import json

import pytest
from PIL import Image

from edgesplit.demo.report import play
from edgesplit.demo.scenario import Scenario
from edgesplit.errors import ConfigError

REQUESTS = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setattr("edgesplit.demo.scenario.STEADY_S", 0.5)
        patch.setattr("edgesplit.demo.scenario.SETTLE_LIMIT_S", 4.0)
        play(Scenario(models=("mobilenet_v2",), requests=REQUESTS), folder, is_live=False)
    return folder


def test_the_summary(folder):
    told = json.loads((folder / "summary.json").read_text())
    assert told["emulated"] is True
    model = told["models"]["mobilenet_v2"]
    assert model["requests"] == 2 * REQUESTS
    assert model["failed"] == 0
    assert model["max_rel_error"] < 1e-5
    for approach in ("static", "adaptive"):
        for figure in ("latency_s", "end_energy_j", "total_energy_j"):
            assert model[approach][figure] > 0
    for change in ("throttle", "restore"):
        assert {f"adapt_{change}_s", f"adapt_{change}_requests"} <= model.keys()


def test_the_table_of_requests(folder):
    with (folder / "requests.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * REQUESTS
    by_turns = ["static", "adaptive", "adaptive", "static"] * (REQUESTS // 2)
    assert [row["approach"] for row in rows] == by_turns
    assert {row["link"] for row in rows} == {"nominal", "throttled", "restored"}
    assert len({row["plan"] for row in rows if row["approach"] == "static"}) == 1
    assert {row["emulated"] for row in rows} == {"True"}
    assert all(row["plan"].startswith("end:") for row in rows)
    assert not any(row["plan"].startswith("end:0-0") for row in rows), "the photograph left"


def test_the_picture(folder):
    with Image.open(folder / "timeline.png") as image:
        assert min(image.size) > 300


def test_too_few_requests():
    with pytest.raises(ConfigError, match="8 requests per plan or more"):
        Scenario(requests=7)
