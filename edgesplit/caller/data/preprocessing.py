"""Preprocessing as layers: a model that takes pictures as decoded, so that resizing can be cut.

Resizing as a layer keeps fractions, where torchvision rounds to whole levels: runtimes that round
otherwise would differ from torch by a level, and none of them but torch could run the model.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from edgesplit.errors import InputError
from edgesplit.node.picture.preparation import COLOURS, LEVELS, MEAN, STD, Preparation, levels


class Preprocessing(nn.Module):
    """Layers that make a model's input of pictures as decoded: resize, crop, to float, normalise.

    Takes uint8 of shape Nx3xHxW (red, green, blue; decode_image() gives it), returns float32 of
    shape Nx3xSIZExSIZE: within one of 255 levels of what torchvision's transforms return for the
    same settings, which round after resizing.

    size: side of the square in the middle; None: as it comes, neither resized nor cropped.
    resize: what the shorter side is resized to before; None: 8/7 of `size`, as ImageNet's 256 for
        224. Give both the same to keep all of a square picture.
    mean, std: per channel, of values from 0 to 1.
    interpolation: `bilinear` or `bicubic`, with antialiasing.

    Raises InputError for other settings. forward() raises it for what is no picture as decoded.

    Example:
        >>> from PIL import Image
        >>> picture = decode_image(Image.new("RGB", (640, 480)))
        >>> Preprocessing()(picture).shape
        torch.Size([1, 3, 224, 224])
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        size: int | None = 224,
        resize: int | None = None,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        whole = Preparation(size, resize, interpolation=interpolation)
        self.size, self.resize, self.interpolation = whole.size, whole.resize, interpolation
        self.per_colour = levels(mean, std)
        for name, values in zip(("mean", "std"), self.per_colour, strict=True):
            row = LEVELS * torch.tensor(values).view(1, COLOURS, 1, 1)
            self.register_buffer(name, row, persistent=False)
        self.eval()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """float32 of shape Nx3xSIZExSIZE. Raises InputError."""
        _check(pictures)
        return self._normalised(self._square(pictures.float()))

    def resized(self, pictures: torch.Tensor) -> torch.Tensor:
        """The square that forward() makes, before it is normalised, rounded to uint8.

        For those who resize before the model, and leave the rest to its layers: see normalising().
        Raises InputError.
        """
        _check(pictures)
        return self._square(pictures.float()).round().to(torch.uint8)

    def normalising(self) -> "Preprocessing":
        """The same, for pictures that resized() has made square: they are normalised only."""
        return Preprocessing(None, None, *self.per_colour, self.interpolation)

    def preparation(self, normalised: bool = True) -> Preparation:
        """The same for a picture's file, as read_image() takes it; without `normalised`, resized().

        Pillow resizes then, and rounds as torchvision's transforms do.
        """
        mean, std = self.per_colour if normalised else (None, None)
        return Preparation(self.size, self.resize, mean, std, self.interpolation)

    def _square(self, pictures: torch.Tensor) -> torch.Tensor:
        """Bicubic overshoots; pictures do not."""
        if self.size is None or self.resize is None:
            return pictures
        height, width = pictures.shape[-2:]
        shorter = min(height, width)
        sides = [self.resize * height // shorter, self.resize * width // shorter]
        pictures = functional.interpolate(
            pictures, sides, mode=self.interpolation, antialias=True, align_corners=False
        )
        if self.interpolation == "bicubic":
            pictures = pictures.clamp(0, LEVELS)
        top, left = (_half(side - self.size) for side in pictures.shape[-2:])
        return pictures.narrow(-2, top, self.size).narrow(-1, left, self.size)

    def _normalised(self, pictures: torch.Tensor) -> torch.Tensor:
        return (pictures - self.mean) / self.std


def with_preprocessing(
    model: nn.Module, preprocessing: Preprocessing | None = None
) -> nn.Sequential:
    """The model behind preprocessing: it takes pictures as decoded, uint8 of shape Nx3xHxW.

    Its first layers are the preprocessing. They are measured and cut as any other, so that plans
    choose the tier that resizes; a picture crosses cut 0 in a quarter of the bytes of float32.
    The model itself is used, not copied. preprocessing: None: as torchvision's classifiers want it.
    Raises InputError for what is no model or no preprocessing.

    Example:
        >>> whole = with_preprocessing(torch.nn.Flatten(), Preprocessing(size=64))
        >>> whole(torch.zeros(1, 3, 100, 80, dtype=torch.uint8)).shape
        torch.Size([1, 12288])
    """
    preprocessing = Preprocessing() if preprocessing is None else preprocessing
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, given {model!r}")
    if not isinstance(preprocessing, Preprocessing):
        raise InputError(f"preprocessing must be a Preprocessing, given {preprocessing!r}")
    whole = nn.Sequential(OrderedDict(preprocessing=preprocessing, model=model))
    whole.training = model.training  # not by train(), which would change the model's parts
    return whole


def _check(pictures: torch.Tensor) -> None:
    """Raises InputError."""
    if not isinstance(pictures, torch.Tensor):
        raise InputError(f"pictures are a uint8 tensor of shape Nx3xHxW, given {pictures!r}")
    is_right = pictures.ndim == 4 and pictures.shape[1] == COLOURS
    if pictures.dtype != torch.uint8 or not is_right:
        raise InputError(
            "pictures as decoded are uint8 of shape Nx3xHxW, as decode_image() gives them; given "
            f"{str(pictures.dtype).removeprefix('torch.')} of shape {tuple(pictures.shape)}"
        )


def _half(rest: int) -> int:
    """Half of it, to the nearest whole number, of two the even one: as torchvision crops."""
    half = rest // 2
    return half + rest % 2 * (half % 2)
