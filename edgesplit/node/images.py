"""Pictures as input of an ImageNet classifier."""

from os import PathLike
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from edgesplit.errors import InputError

RESIZED, CROPPED = 256, 224  # pixels: shorter side, then the square in the middle
# Per channel, of ImageNet's training set; what torchvision's weights were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def load_image(source: str | PathLike[str] | Image.Image) -> torch.Tensor:
    """The picture as torchvision's classifiers expect it: float32 of shape 1x3x224x224.

    Raises InputError for a file that is missing or no picture.
    """
    if isinstance(source, Image.Image):
        return _to_tensor(source)
    path = Path(source)
    try:
        with Image.open(path) as image:
            return _to_tensor(image)
    except FileNotFoundError as error:
        raise InputError(f"no picture {str(path)!r}") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"{str(path)!r} cannot be read as a picture: {error}") from error


def _to_tensor(image: Image.Image) -> torch.Tensor:
    image = image.convert("RGB")
    width, height = image.size
    shorter = min(width, height)
    size = (RESIZED * width // shorter, RESIZED * height // shorter)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - CROPPED) / 2), round((size[1] - CROPPED) / 2)
    image = image.crop((left, top, left + CROPPED, top + CROPPED))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return ((pixels - mean) / std).unsqueeze(0).contiguous()
