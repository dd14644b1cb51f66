"""Pictures as input of an ImageNet classifier: the middle of each, as people see it."""

from os import PathLike

import numpy as np
import torch
from PIL import Image

from edgesplit.caller.inputs.picture_file import decoded

RESIZED, CROPPED = 256, 224  # pixels: shorter side, then the square in the middle
# Per channel, of ImageNet's training set; what torchvision's weights were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def load_image(source: str | PathLike[str] | Image.Image) -> torch.Tensor:
    """A picture as torchvision's classifiers expect it: float32 of shape 1x3x224x224.

    source: a path or a PIL.Image.Image. The picture is read as people see it: upright by its
    orientation tag, the first frame of several, white where it is transparent. Colour profiles are
    not applied. Raises InputError for a file that is missing, broken or no picture, and for one of
    more pixels than PIL.Image.MAX_IMAGE_PIXELS, which is not decoded.

    Example:
        >>> from PIL import Image
        >>> load_image(Image.new("RGB", (640, 480))).shape
        torch.Size([1, 3, 224, 224])
    """
    return decoded(source, _prepared)


def decode_image(source: str | PathLike[str] | Image.Image) -> torch.Tensor:
    """A picture as decoded: uint8 of shape 1x3xHxW, red, green, blue, as people see it.

    What a model with Preprocessing takes. Otherwise as load_image, which says what is raised; of a
    picture that is over 16 times as long as wide the middle is taken.

    Example:
        >>> from PIL import Image
        >>> decode_image(Image.new("RGB", (640, 480))).shape
        torch.Size([1, 3, 480, 640])
    """
    return decoded(source, pixels_of)


def pixels_of(image: Image.Image) -> torch.Tensor:
    """uint8 of shape 1x3xHxW of a picture in mode RGB."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0).contiguous()


def allow_pixels(most: int) -> None:
    """Let pictures have so many pixels from now on, in this whole process: the limit is Pillow's.

    Decoding takes up to 12 bytes for each.
    """
    Image.MAX_IMAGE_PIXELS = most


def _prepared(image: Image.Image) -> torch.Tensor:
    width, height = image.size
    shorter = min(width, height)
    size = (RESIZED * width // shorter, RESIZED * height // shorter)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - CROPPED) / 2), round((size[1] - CROPPED) / 2)
    middle = np.array(image)[top : top + CROPPED, left : left + CROPPED]
    pixels = torch.from_numpy(middle).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return ((pixels - mean) / std).unsqueeze(0).contiguous()
