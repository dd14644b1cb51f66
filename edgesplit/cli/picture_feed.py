"""How pictures reach a model: what is done before it, and what its first layers do."""

from dataclasses import dataclass

import torch
from torch import nn

from edgesplit.caller.data.preprocessing import Preprocessing, with_preprocessing
from edgesplit.caller.inputs.image_file import ImageFile


@dataclass(frozen=True, eq=False)
class PictureFeed:
    """as_layers: `none`: the model gets float32; `normalise`: uint8 of its size; `all`: as decoded.

    What is no layer is done before: by the caller, or by whichever tier decodes a picture's file.
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

    def input(self, pictures: torch.Tensor | ImageFile) -> torch.Tensor | ImageFile:
        """What that model takes, of pictures as decoded, or of a picture's file."""
        if self.as_layers == "all":
            return pictures
        if isinstance(pictures, ImageFile):
            normalised = self.as_layers == "none"
            return pictures.prepared(self.preprocessing.preparation(normalised))
        square = self.preprocessing.resized(pictures)
        if self.as_layers == "normalise":
            return square
        made: torch.Tensor = self.preprocessing.normalising()(square)
        return made
