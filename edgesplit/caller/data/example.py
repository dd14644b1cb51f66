"""An example: an input of the model, what it should be taken for, and where it is from."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Example:
    """One picture of a data set or stream.

    x: as decoded, uint8 of shape 1x3xHxW. label: the index of its class; None: not known. origin:
    where it is from, such as a file's path or `digits 17`.
    """

    x: torch.Tensor
    label: int | None
    origin: str
