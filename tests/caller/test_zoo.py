"""Models by name, their weights, and pictures as input."""

import sys
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgesplit.caller.inputs.zoo import load_model
from edgesplit.errors import ConfigError, UnknownNameError
from edgesplit.node.program.torchvision_ops import import_torchvision


def same_weights(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_random_weights_follow_the_seed_only():
    state = torch.get_rng_state()
    first = load_model("squeezenet1_1", seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert not first.training
    assert same_weights(first, load_model("squeezenet1_1", seed=3))
    assert not same_weights(first, load_model("squeezenet1_1", seed=4))


def test_heads_that_start_at_zero_are_filled(own_models):
    assert load_model("own_models:zero_head").weight.all()


@pytest.fixture
def own_models(monkeypatch):
    """A module of the caller's."""
    module = ModuleType("own_models")
    module.linear = lambda: nn.Linear(2, 2)
    module.zero_head = lambda: nn.utils.skip_init(nn.Linear, 2, 2).requires_grad_(False)
    module.no_model = lambda: 3

    def zero_head():
        head = nn.Linear(2, 2)
        nn.init.zeros_(head.weight)
        return head

    module.zero_head = zero_head
    monkeypatch.setitem(sys.modules, "own_models", module)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet5O", "did you mean .*resnet50"),
        ("own_models:linaer", "no callable 'linaer' in own_models; did you mean linear"),
        ("no_such_package:make", "cannot import 'no_such_package'"),
    ],
)
def test_unknown_names(name, words, own_models):
    with pytest.raises(UnknownNameError, match=words):
        load_model(name)


def test_callables_must_return_modules(own_models):
    with pytest.raises(ConfigError, match="returned int"):
        load_model("own_models:no_model")
    with pytest.raises(ConfigError, match="for torchvision's models"):
        load_model("own_models:linear", weights="pretrained")


def test_state_dict(tmp_path, own_models):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "good.pt")
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "other.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    (tmp_path / "bad.pt").write_bytes(b"no weights")
    save_file(torch.load(tmp_path / "good.pt"), tmp_path / "good.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    for name in ("good.pt", "good.safetensors"):
        model = load_model("own_models:linear", weights=tmp_path / name)
        assert torch.equal(model.weight, torch.load(tmp_path / "good.pt")["weight"])
    with pytest.raises(ConfigError, match="do not fit"):
        load_model("own_models:linear", weights=tmp_path / "bad.safetensors")
    with pytest.raises(ConfigError, match="size mismatch"):
        load_model("own_models:linear", weights=str(tmp_path / "other.pt"))
    with pytest.raises(ConfigError, match="do not fit"):
        load_model("own_models:linear", weights=str(tmp_path / "whole.pt"))
    with pytest.raises(ConfigError, match="do not fit"):
        load_model("own_models:linear", weights=str(tmp_path / "bad.pt"))
    with pytest.raises(ConfigError, match="no weights"):
        load_model("own_models:linear", weights=str(tmp_path / "none.pt"))


def test_pretrained_without_network(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(import_torchvision().models.alexnet, "__wrapped__", offline)
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", "/nonexistent")
    with pytest.raises(ConfigError, match="cannot be downloaded"):
        load_model("squeezenet1_1", weights="pretrained")
