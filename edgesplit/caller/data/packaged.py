"""Data sets that ship inside packages: digits of scikit-learn, photographs of scikit-image."""

from importlib.resources import files
from importlib.resources.abc import Traversable

import torch
from PIL import Image

from edgesplit.caller.data.data_set import DataSet
from edgesplit.caller.data.example import Example
from edgesplit.caller.inputs.images import read_image

# The first four are the demo's.
PHOTOS = (
    *("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"),
    *("hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "retina.jpg"),
)
_BRIGHTEST = 16  # of the digits' grey levels


def digits() -> DataSet:
    """1,797 digits written by hand, 8x8, with labels; of the UCI repository, by scikit-learn.

    Their 17 grey levels are spread over 0 to 255, in all three colours.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    grey = torch.from_numpy(found.images).mul(255 / _BRIGHTEST).round().to(torch.uint8)
    pixels = grey[:, None, None].expand(-1, 1, 3, -1, -1)
    labels = [int(label) for label in found.target]

    def read(index: int) -> Example:
        return Example(pixels[index].contiguous(), labels[index], f"digits {index}")

    return DataSet("digits", read, range(len(labels)), tuple(map(str, range(10))))


def photos() -> DataSet:
    """Eight colour photographs of different sizes, without labels; by scikit-image."""

    def read(index: int) -> Example:
        data = _photo(PHOTOS[index]).read_bytes()
        return Example(read_image(data), None, PHOTOS[index])

    with photo_file(PHOTOS[0]):  # whether the package is there
        return DataSet("photos", read, range(len(PHOTOS)))


def photo_file(name: str) -> Image.Image:
    """One of PHOTOS, not decoded yet; to be closed."""
    return Image.open(_photo(name))  # type: ignore[arg-type]


def _photo(name: str) -> Traversable:
    return files("skimage") / "data" / name
