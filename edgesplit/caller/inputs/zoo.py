"""Models by name: torchvision's classifiers, or a callable of the caller's own package."""

import difflib
import importlib
import pickle
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgesplit.core.given import is_name, is_whole
from edgesplit.errors import ConfigError, UnknownNameError
from edgesplit.node.program.torchvision_ops import import_torchvision

HEAD_STD = 0.02  # of heads that torchvision starts at zero; the usual start of transformer heads

_SAFETENSORS = ".safetensors"  # other files are torch.save's
_WEIGHTS = "'random', 'pretrained' or the path of a state dict (torch.save's, or .safetensors)"


def load_model(name: str, weights: str | PathLike[str] = "random", seed: int = 0) -> nn.Module:
    """A model by name, in eval mode.

    name: a classifier of torchvision, such as `resnet50`, or `package.module:callable`, which
        returns a module.
    weights: `random` (from `seed`), `pretrained` (downloads torchvision's), or the path of a state
        dict, as torch.save writes it or in a file called *.safetensors.

    Raises UnknownNameError for an unknown name, ConfigError for weights that do not load.

    Example:
        >>> type(load_model("squeezenet1_1")).__name__
        'SqueezeNet'
    """
    if not is_name(name):
        raise UnknownNameError(f"a model is named by text, such as 'resnet50', given {name!r}")
    if not isinstance(weights, (str, PathLike)):
        raise ConfigError(f"weights are {_WEIGHTS}, given {weights!r}")
    if not (is_whole(seed) and 0 <= seed < 1 << 64):
        raise ConfigError(f"seed must be a whole number from 0 to 2^64 - 1, given {seed!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        model = _own(name, weights) if ":" in name else _torchvision(name, weights)
        if weights == "random":
            _fill_zero_heads(model)
    if weights not in ("random", "pretrained"):
        _load_state(model, Path(weights))
    return model.eval()


def check_names(names: Iterable[str]) -> None:
    """Raise UnknownNameError for a name that torchvision lacks; nothing is loaded."""
    models = import_torchvision().models
    known = models.list_models(module=models)
    for name in names:
        if ":" not in name and name not in known:
            raise UnknownNameError(f"no model {name!r} in torchvision{_close(name, known)}")


def _torchvision(name: str, weights: str | PathLike[str]) -> nn.Module:
    check_names([name])
    models = import_torchvision().models
    options: dict[str, Any] = {"weights": "DEFAULT" if weights == "pretrained" else None}
    if name in ("googlenet", "inception_v3") and weights != "pretrained":
        options["init_weights"] = True  # unset, torchvision warns that the default will change
    try:
        return models.get_model(name, **options)  # type: ignore[no-any-return]
    except (OSError, RuntimeError) as error:  # offline, or a damaged download
        if weights != "pretrained":
            raise
        raise ConfigError(
            f"weights of {name!r} cannot be downloaded: {error}; use weights='random' or the path "
            "of a state dict"
        ) from error


def _own(name: str, weights: str | PathLike[str]) -> nn.Module:
    if weights == "pretrained":
        raise ConfigError(
            f"weights='pretrained' is for torchvision's models; let {name!r} load its own, or "
            "give the path of a state dict"
        )
    path, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(path)
    except Exception as error:  # a module of the user's may raise anything at its import
        raise UnknownNameError(f"{name!r}: cannot import {path!r}: {error!r}") from error
    make = getattr(module, attribute, None)
    if not callable(make):
        raise UnknownNameError(
            f"no callable {attribute!r} in {path}{_close(attribute, list(vars(module)))}"
        )
    try:
        model = make()
    except Exception as error:  # so may a callable
        raise ConfigError(
            f"{name!r}: {attribute}() raised {error!r}; it is called without arguments"
        ) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{name!r} returned {type(model).__name__}, not a torch.nn.Module")
    return model


def _close(name: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(name, known)
    return f"; did you mean {', '.join(matches)}?" if matches else "; list_models() shows them all"


def _fill_zero_heads(model: nn.Module) -> None:
    """Some heads start at zero (ViT), so that every output would be zero whatever the input."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=HEAD_STD)


def _load_state(model: nn.Module, path: Path) -> None:
    from safetensors import SafetensorError

    try:
        model.load_state_dict(_state(path))
    except FileNotFoundError as error:
        raise ConfigError(f"no weights {str(path)!r}; expected {_WEIGHTS}") from error
    except (
        OSError,
        EOFError,
        RuntimeError,
        TypeError,
        ValueError,
        AttributeError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"weights {str(path)!r} do not fit: {reason}; give {_WEIGHTS}") from error


def _state(path: Path) -> dict[str, Any]:
    """The state dict in a file; nothing in it is run."""
    if path.suffix == _SAFETENSORS:
        from safetensors.torch import load_file

        return load_file(path)
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
