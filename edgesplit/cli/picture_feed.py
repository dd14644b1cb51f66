"""How pictures reach a model: what is done before it, and what its first layers do."""

from dataclasses import dataclass

import torch
from torch import nn

from edgesplit.caller.data.preprocessing import Preprocessing, with_preprocessing


@dataclass(frozen=True, eq=False)
class PictureFeed:
    """as_layers: `none`: the model gets float32; `normalise`: uint8 of its size; `all`: as decoded.

    What is no layer is done by the caller, before the request.
    """

    preprocessing: Preprocessing
    as_layers: str

    def model(self, model: nn.Module) -> nn.Module:
        """The model behind those layers."""
        if self.as_layers == "none":
            return model
        if self.as_layers == "normalise":
            return with_preprocessing(model, self.preprocessing.normalising())
        return with_preprocessing(model, self.preprocessing)

    def input(self, pictures: torch.Tensor) -> torch.Tensor:
        """What that model takes, of pictures as decoded."""
        if self.as_layers == "all":
            return pictures
        square = self.preprocessing.resized(pictures)
        if self.as_layers == "normalise":
            return square
        normalised: torch.Tensor = self.preprocessing.normalising()(square)
        return normalised
