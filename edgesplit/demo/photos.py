"""The photographs that the demo classifies. They ship inside scikit-image; nothing is fetched."""

from dataclasses import dataclass

import torch
from torch import nn

from edgesplit.caller.data.packaged import PHOTOS, photo_file
from edgesplit.caller.inputs.images import load_image

SHOWN = PHOTOS[:4]


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph as the model's input (1x3x224x224), and what the whole model says of it."""

    name: str
    pixels: torch.Tensor
    reference: torch.Tensor


def photos_for(model: nn.Module) -> list[Photo]:
    """Each photograph that is shown, with `model(photo)`, computed in this process."""
    return [_photo(model, name) for name in SHOWN]


def _photo(model: nn.Module, name: str) -> Photo:
    with photo_file(name) as image:
        pixels = load_image(image)
    with torch.no_grad():
        return Photo(name.partition(".")[0], pixels, model(pixels))


def relative_error(found: torch.Tensor, reference: torch.Tensor) -> float:
    """max|found - reference| / max|reference|."""
    return float((found - reference).abs().max() / reference.abs().max())
