"""An example: an input of the model, what it should be taken for, and where it is from."""

from dataclasses import dataclass
from functools import cached_property

import torch

from edgesplit.caller.inputs.image_file import ImageFile


@dataclass(frozen=True, eq=False)
class Example:
    """One picture of a data set or stream.

    picture: as decoded, or its file, which is then decoded once `x` is asked for. label: the index
    of its class; None: not known. origin: where it is from, such as a file's path or `digits 17`.
    """

    picture: torch.Tensor | ImageFile
    label: int | None
    origin: str

    @cached_property
    def x(self) -> torch.Tensor:
        """The picture as decoded, uint8 of shape 1x3xHxW. Raises InputError for a broken file."""
        return self.picture.tensor() if isinstance(self.picture, ImageFile) else self.picture
