"""--model, --data and --weights: experiments on pictures and weights of a user's own."""

import json

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits
from tiny_net import make

from edgesplit.core.payload_codec import CODECS
from edgesplit.errors import ConfigError
from experiments.codecs import predictions
from experiments.codecs.__main__ import main as codecs
from experiments.int8.__main__ import main as int8
from experiments.int8.rows import rows_of
from experiments.int8.sides import measure
from experiments.shared.own_data import OwnData, own_data, settings_of
from experiments.shared.probed import of_own

PICTURES = 400  # what a loss of 0.5 % takes to be shown, and some


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Digits as an ImageFolder tree, and a tiny net's weights."""
    folder, digits = tmp_path_factory.mktemp("own"), load_digits()
    for number in range(PICTURES):
        file = folder / "tree" / str(digits.target[number]) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15.9).astype(np.uint8)).save(file)
    torch.manual_seed(0)
    torch.save(make().state_dict(), folder / "tiny.pt")
    return OwnData("tiny_net:make", str(folder / "tree"), str(folder / "tiny.pt"), PICTURES, 32, 32)


def words(own):
    given = ("--model", own.model, "--data", own.data, "--weights", own.weights)
    return (*given, "--examples", str(PICTURES), "--size", "32", "--resize", "32")


def test_a_model_and_its_examples(own):
    found = of_own(own.load())
    assert len(found.examples) == PICTURES
    x, label = found.examples[7]
    assert x.shape == (1, 3, 32, 32)
    with torch.no_grad():
        right = [int(found.model(x).argmax()) == label for x, label in found.examples]
    assert found.accuracy == sum(right) / PICTURES
    part = found.examples[:30]
    assert (len(part), part[7][1]) == (30, label)


def test_bytes_and_losses_on_it(own, tmp_path):
    given = ("--out", str(tmp_path), "--quick", *words(own))
    found = CliRunner().invoke(predictions.main, given)
    assert found.exit_code == 0, found.output
    rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + 3
    assert all(row.startswith("tiny_net:make,") for row in rows[1:])
    assert any(codec in rows[1] for codec in CODECS)


def test_too_few_of_them(own):
    few = OwnData(own.model, own.data, own.weights, 300, 32, 32)
    with pytest.raises(ConfigError, match="give more than 300"):
        predictions.predicted(few.load(), 3)


def test_8_bits_on_it(own):
    found = measure(own.model, 2, own)
    assert len(rows_of({"model": own.model, **found})) == 15
    told = found["accuracy"]
    assert told["count"] == PICTURES
    assert 0 < told["torch"] < 1
    assert told["lower"] <= told["share"] <= told["upper"]


def test_codecs_on_it(own, tmp_path):
    given = ("--out", str(tmp_path), "--quick", "--rounds", "3", *words(own))
    found = CliRunner().invoke(codecs, given)
    assert found.exit_code == 0, found.output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["never_worse"] in (True, False)
    rows = (tmp_path / "codecs.csv").read_text().splitlines()
    assert len(rows) == 1 + 4  # two rates, two goals
    again = CliRunner().invoke(codecs, ("--out", str(tmp_path), "--quick", "--rounds", "3"))
    assert again.exit_code == 1
    assert "other settings" in again.output


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--data", "digits"), "--data: give --model, --weights too"),
        (("--size", "32"), "--size: give --model, --data, --weights too"),
        (("--mean", "1,2"), "expected three numbers"),
        (("--std", "a,b,c"), "expected three numbers"),
    ],
)
@pytest.mark.parametrize("command", [codecs, int8, predictions.main])
def test_some_without_others_are_refused_at_once(command, given, told, tmp_path):
    found = CliRunner().invoke(command, ("--out", str(tmp_path), *given))
    assert found.exit_code == 2
    assert told in found.output


def test_what_belongs_to_a_run(own):
    none = dict.fromkeys(("model", "data", "weights", "examples", "size", "resize", "mean", "std"))
    assert own_data(none) is None
    assert settings_of(None) == {}
    given = none | {"model": own.model, "data": own.data, "weights": own.weights, "size": 32}
    assert settings_of(own_data(given))["own"]["size"] == 32
    with pytest.raises(click.UsageError):
        own_data(none | {"model": "alexnet"})


def test_the_models_of_the_experiment_and_ones_own_are_not_mixed(own, tmp_path):
    given = ("--out", str(tmp_path), "--models", "alexnet", *words(own))
    found = CliRunner().invoke(int8, given)
    assert found.exit_code == 2
    assert "not both" in found.output
