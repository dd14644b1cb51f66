"""Models trained on digits: kept under what they depend on, judged on what they have not seen."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from edgesplit import Preprocessing, open_data
from edgesplit.errors import ConfigError
from experiments.shared import trained
from experiments.shared.digit_nets import SMALL_NETS
from experiments.shared.trained import TRAININGS, Training, loaded, trained_on_digits

SHORT = Training("tiny", epochs=3, peak_rate=0.05, train_examples=320, size=8)


def tiny():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A training of a moment."""
    monkeypatch.setitem(TRAININGS, "tiny", SHORT)
    monkeypatch.setitem(SMALL_NETS, "tiny", tiny)


def test_held_out_examples_are_not_those_it_was_trained_on(tmp_path):
    found = trained_on_digits("tiny", tmp_path)
    seen = open_data("digits").sample(SHORT.train_examples, SHORT.seed)
    assert not set(found.examples.indices) & set(seen.indices)
    assert len(found.examples) + len(seen) == 1797
    assert not found.model.training
    assert 0.7 < found.accuracy() < 1


def test_each_training_leaves_900_examples():
    whole = len(open_data("digits"))
    assert {whole - training.train_examples for name, training in TRAININGS.items()
            if name != "tiny"} == {900}  # fmt: skip


def test_weights_are_kept_and_taken_again(tmp_path, monkeypatch):
    first = trained_on_digits("tiny", tmp_path).model.state_dict()
    (kept,) = tmp_path.iterdir()
    assert kept.name == f"tiny-{SHORT.key}.safetensors"

    def no_training(*_):
        raise AssertionError("it was trained before")

    monkeypatch.setattr(trained, "_train", no_training)
    again = trained_on_digits("tiny", tmp_path).model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_same_training_gives_the_same_weights(tmp_path):
    first, second = (
        trained_on_digits("tiny", tmp_path / name).model.state_dict() for name in ("a", "b")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_a_damaged_file_is_made_anew(tmp_path, content):
    SHORT.file(tmp_path).write_bytes(content)
    trained_on_digits("tiny", tmp_path)
    assert SHORT.file(tmp_path).stat().st_size > 1000


def test_the_key_is_another_one_where_anything_differs():
    others = [replace(SHORT, epochs=4), replace(SHORT, seed=1), replace(SHORT, version=2)]
    assert len({SHORT.key, *(other.key for other in others)}) == 4


@pytest.mark.parametrize("name", ["mobilenet_v2", "alexnet", "vgg16"])
def test_small_nets_take_pictures_of_64_pixels(name):
    assert SMALL_NETS[name]().eval()(torch.rand(2, 3, 64, 64)).shape == (2, 10)


def test_a_model_and_data_of_the_users(tmp_path, monkeypatch):
    """As CIFAR or ImageNet by their paths: the state dict fits the model, the data have labels."""
    made = trained_on_digits("tiny", tmp_path)
    monkeypatch.setattr(trained, "tiny", tiny, raising=False)
    torch.save(made.model.state_dict(), tmp_path / "tiny.pt")
    name = "experiments.shared.trained:tiny"
    for weights in (SHORT.file(tmp_path), tmp_path / "tiny.pt"):
        found = loaded(name, "digits", weights, made.preprocessing, most=50)
        assert len(found.examples) == 50
        assert found.accuracy() > 0.7
    with pytest.raises(ConfigError, match="needs labels"):
        loaded(name, "photos", tmp_path / "tiny.pt", Preprocessing(8, 8))


def test_another_name():
    with pytest.raises(ConfigError, match="there are mobilenet_v2, alexnet, vgg16"):
        trained_on_digits("resnet50")
