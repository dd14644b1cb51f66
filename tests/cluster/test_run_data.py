"""`edgesplit run --data` as a stranger uses it, on the embedded cluster."""

import json

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from edgesplit import EdgeSplit, Preprocessing, decode_image, open_data, with_preprocessing
from edgesplit.cli import main
from edgesplit.errors import RequestError

CODE = """
from torch import nn

def digits():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))

def few():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))

def tiny():
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 10),
    )
"""
SMALL = ("--size", "8", "--resize", "8")
FRAMES = 6


@pytest.fixture(scope="module")
def place(tmp_path_factory, one_cluster):
    """A folder with models, a tree of pictures and a video."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "data_models.py").write_text(CODE)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for name in ("cats/a.png", "cats/b.png", "dogs/c.png"):
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "tree" / name)
    (folder / "tree/dogs/broken.png").write_bytes(b"none")
    kind = cv2.VideoWriter_fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.CAP_FFMPEG, kind, 25.0, (80, 60))
    for _ in range(FRAMES):
        writer.write(pixels)
    writer.release()
    return folder


@pytest.fixture
def invoke(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    return lambda *words: CliRunner().invoke(main, ["run", *words])


def test_accuracy_is_that_of_the_model(invoke, place):
    """A model of known weights: what is said of it is what it says here."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    torch.save(model.state_dict(), place / "digits.pt")
    given = ("--weights", "digits.pt", "--limit", "30", *SMALL)
    made, data = Preprocessing(8, 8), open_data("digits").sample(30)
    right = sum(int(model(made(one.x)).argmax()) == one.label for one in data)
    for layers in ("none", "normalise", "all"):
        found = invoke(
            "data_models:digits", "--data", "digits", *given, "--as-layers", layers, "--json"
        )
        assert found.exit_code == 0, found.output
        told = json.loads(found.stdout)
        summary = told["summary"]
        assert (summary["labelled"], summary["right"]) == (30, right)
        assert summary["accuracy"] == pytest.approx(right / 30)
        assert [row["image"] for row in told["examples"]] == [one.origin for one in data]
        assert summary["latency_s"]["median"] > 0
        assert summary["end_energy"]["joules"] > 0


def test_the_summary_in_text(invoke):
    found = invoke("data_models:digits", "--data", "digits", "--limit", "5", *SMALL)
    assert (found.exit_code, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert lines[0] == "digits: 5 of 1,797 examples, drawn by seed 0"
    words = [line.split(" ")[0] for line in lines[1:5]]
    assert words == ["top-1", "latency", "end", "all"]
    assert "weights are random (seed 0): the classes mean nothing" in lines


def test_a_picture_that_cannot_be_read_keeps_no_other_from_its_answer(invoke):
    found = invoke("data_models:tiny", "--data", "tree", "--as-layers", "normalise", "--json")
    assert found.exit_code == 1
    assert found.stderr.count("edgesplit: ") == 1
    assert "broken.png' cannot be read as a picture" in found.stderr
    told = json.loads(found.stdout)
    assert (told["unanswered"], told["summary"]["answered"]) == (1, 3)
    assert [row.get("label") for row in told["examples"]] == [0, 0, None, 1]


def test_a_picture_that_ends_too_early_keeps_no_other_from_its_answer(invoke, place):
    whole = (place / "tree/cats/a.png").read_bytes()
    for name in ("first/0.png", "first/1.png", "second/0.png"):
        (place / "cut" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "cut" / name).write_bytes(whole if name == "first/1.png" else whole[:-900])
    found = invoke("data_models:tiny", "--data", "cut", "--json")
    assert found.exit_code == 1
    assert found.stderr.count("edgesplit: ") == 2
    told = json.loads(found.stdout)
    assert (told["unanswered"], told["summary"]["answered"]) == (2, 1)


def test_pictures_travel_as_their_files_where_that_is_best(invoke, place):
    """On links and a device as slow as a radio's, of photographs that are smaller as files."""
    photos = open_data("photos")
    for number in range(3):
        (place / "photos" / "one").mkdir(parents=True, exist_ok=True)
        x = photos[number].x[0].permute(1, 2, 0).numpy()
        Image.fromarray(x).save(place / "photos" / "one" / f"{number}.jpg", quality=60)
    goal = ("--latency", "1", "--end-energy", "0", "--total-energy", "0")
    given = ("--codec", "picture", "--policy", "cloud-only", "--json", *goal)
    found = invoke("data_models:tiny", "--data", "./photos", "--as-layers", "normalise", *given)
    assert found.exit_code == 0, found.output
    plans = {row["plan"] for row in json.loads(found.stdout)["examples"]}
    assert all("|picture|" in plan for plan in plans)


def test_a_request_that_fails_is_said_and_counted(invoke, monkeypatch):
    given, calls = EdgeSplit.infer, []

    def infer(self, x):
        calls.append(x)
        if len(calls) == 3:
            raise RequestError("tier 'edge' refused it")
        return given(self, x)

    monkeypatch.setattr(EdgeSplit, "infer", infer)
    found = invoke("data_models:digits", "--data", "digits", "--limit", "3", *SMALL, "--json")
    assert found.exit_code == 1
    assert found.stderr.endswith("tier 'edge' refused it\n")
    assert json.loads(found.stdout)["summary"]["answered"] == 2


def test_a_long_run_says_how_far_it_is(invoke, monkeypatch):
    """Where stderr is no terminal, every few seconds; here at once."""
    monkeypatch.setattr("edgesplit.cli.data_command._SAID_EVERY_S", 0.0)
    monkeypatch.setattr("edgesplit.caller.progress._QUIET_S", 0.001)
    monkeypatch.setattr("edgesplit.caller.progress._PERIOD_S", 0.01)
    found = invoke("data_models:digits", "--data", "digits", "--limit", "40", *SMALL)
    assert found.exit_code == 0, found.output
    assert "edgesplit: opening the session (" in found.stderr
    assert "edgesplit: running the model over the data: " in found.stderr
    assert " of 40 (" in found.stderr


def test_a_model_with_too_few_classes(invoke):
    found = invoke("data_models:few", "--data", "digits", *SMALL)
    assert found.exit_code == 1
    assert "the model has 4 classes" in found.stderr


def test_a_video_is_played_and_every_frame_counts_once(invoke):
    found = invoke("data_models:tiny", "--data", "clip.avi", "--as-layers", "all", "--json")
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    frames = told["frames"]
    assert (frames["frames_per_s"], frames["deadline_s"]) == (25.0, 0.04)
    assert frames["answered"] + frames["dropped"] == FRAMES
    assert frames["answered"] == len(told["examples"])
    late = [row["latency_s"] > 0.04 for row in told["examples"]]
    assert [row["is_late"] for row in told["examples"]] == late
    assert sum(late) == frames["late"]
    assert told["summary"]["accuracy"] is None


def test_the_deadline_of_a_frame_is_the_goals_limit(invoke):
    given = ("--limit", "2", "--latency-limit-ms", "60000")
    found = invoke("data_models:tiny", "--data", "clip.avi", *given)
    assert found.exit_code == 0, found.output
    assert "0 of them late (after 6e+04 ms)" in found.stdout


def test_what_crosses_the_first_cut_is_a_quarter(one_cluster):
    """Of 224 x 224 pixels: 150 KB as decoded, 602 KB as the model takes them."""
    picture = decode_image(Image.new("RGB", (224, 224), "red"))
    model = nn.Sequential(nn.Conv2d(3, 2, 3, stride=8), nn.ReLU()).eval()
    made = Preprocessing(None)
    with EdgeSplit(with_preprocessing(model, made)) as split:
        assert torch.equal(split.infer(picture), model(made(picture)))
        assert split.graph.payload_bytes[0] == 150_528
        assert len(split.graph) > 2
    with EdgeSplit(model) as split:
        split.infer(made(picture))
        assert split.graph.payload_bytes[0] == 602_112
