"""Torchvision's models at full size with an accuracy of their own, without downloads.

Weights begin at random, of a fixed seed. The last layer is fitted to digits by ridge regression:
of AlexNet and VGG-16 on random features; MobileNetV2, whose random features tell little, is trained
for some minutes before. So layers, payloads and seconds are those of the real model, and accuracy
is real: right answers on digits that were held out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edgesplit import load_model

PIXELS, CLASSES = 224, 10
_RIDGE = 1e-2  # of the mean of the features' squares
_BATCH = 16
_STAGES = ((96, 240, 1e-3), (PIXELS, 40, 3e-4))  # pixels, steps, learning rate
# There are 1,797 digits. VGG-16 takes a third of a second for each.
_HELD_OUT = {"mobilenet_v2": 1197, "alexnet": 1197, "vgg16": 400}
_Example = tuple[torch.Tensor, int]


@dataclass(frozen=True, eq=False)
class Probed:
    """model: in eval mode. examples: held out, (tensor 1 x 3 x 224 x 224, label).

    accuracy: the share of them that the model answers right.
    """

    model: nn.Module
    examples: list[_Example]
    accuracy: float


def probed(name: str, folder: Path, n_fitted: int = 600, n_held_out: int | None = None) -> Probed:
    """The model of that name: mobilenet_v2, alexnet, vgg16. What was fitted is kept in `folder`.

    n_held_out: None: as many as a session can measure losses on in half a minute per codec.
    """
    n_held_out = n_held_out or _HELD_OUT[name]
    images, labels = _digits(n_fitted + n_held_out)
    model = load_model(name).eval()
    last = _last_linear(model)
    kept = folder / f"{name}-{n_fitted}.pt"
    fitted = nn.Linear(last.in_features, CLASSES)
    _replace_last(model, fitted)
    if kept.exists():
        model.load_state_dict(torch.load(kept, weights_only=True))
    else:
        if any(isinstance(part, nn.BatchNorm2d) for part in model.modules()):
            _train(model, images[:n_fitted], labels[:n_fitted])
        _fit(fitted, _features(model, fitted, images[:n_fitted]), labels[:n_fitted])
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), kept)
    held_out = list(zip(torch.split(images[n_fitted:], 1), labels[n_fitted:].tolist(), strict=True))
    return Probed(model, held_out, _accuracy(model, held_out))


def _digits(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """scikit-learn's, shuffled by a fixed seed, enlarged, in three colours from -1 to 1."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))[:count]
    small = torch.as_tensor(data.images[order.numpy()], dtype=torch.float32)[:, None] / 8 - 1
    large = functional.interpolate(small, (PIXELS, PIXELS), mode="bilinear", align_corners=False)
    return large.expand(-1, 3, -1, -1).contiguous(), torch.as_tensor(data.target[order.numpy()])


def _last_linear(model: nn.Module) -> nn.Linear:
    return [part for part in model.modules() if isinstance(part, nn.Linear)][-1]


def _replace_last(model: nn.Module, fitted: nn.Linear) -> None:
    name = [n for n, part in model.named_modules() if isinstance(part, nn.Linear)][-1]
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, fitted)


def _train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """All layers, for a fixed number of steps; on small pictures first, which is quicker."""
    random = torch.Generator().manual_seed(0)
    torch.manual_seed(0)  # of dropout
    model.train()
    for pixels, steps, rate in _STAGES:
        sized = functional.interpolate(images, (pixels, pixels), mode="bilinear")
        optimiser = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(steps):
            some = torch.randint(len(labels), (_BATCH,), generator=random)
            optimiser.zero_grad()
            torch.autograd.backward(functional.cross_entropy(model(sized[some]), labels[some]))
            optimiser.step()
    model.eval()


@torch.no_grad()
def _features(model: nn.Module, last: nn.Linear, images: torch.Tensor) -> torch.Tensor:
    """What the last layer gets, one row per image."""
    seen: list[torch.Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    for batch in _batches(images):
        model(batch)
    hook.remove()
    return torch.cat(seen)


@torch.no_grad()
def _fit(last: nn.Linear, features: torch.Tensor, labels: torch.Tensor) -> None:
    """Ridge regression to one-hot labels, in the dual form: fewer images than features."""
    wanted = functional.one_hot(labels, CLASSES).double() - 1 / CLASSES
    mean = features.double().mean(dim=0)
    rows = features.double() - mean
    gram = rows @ rows.T
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(rows), dtype=torch.float64)
    weight = rows.T @ torch.linalg.solve(gram + ridge, wanted)
    last.weight.copy_(weight.T)
    last.bias.copy_(1 / CLASSES - weight.T @ mean)


@torch.no_grad()
def _accuracy(model: nn.Module, examples: list[_Example]) -> float:
    images = torch.cat([image for image, _ in examples])
    answers = torch.cat([model(batch).argmax(dim=1) for batch in _batches(images)])
    labels = torch.as_tensor([label for _, label in examples])
    return float((answers == labels).float().mean())


def _batches(images: torch.Tensor) -> Iterator[Any]:
    return iter(torch.split(images, _BATCH))
