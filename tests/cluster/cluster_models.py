"""Small models that the tests on clusters share."""

import torch.nn.functional as F
from torch import nn


class TwoHeads(nn.Module):
    """Two inputs, a dict of outputs, a skip over the cuts."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, image, bias):
        x = self.first(image).relu()
        y = (self.second(x) + x).relu()
        return {"logits": self.head(y.mean((2, 3))) + bias, "features": (x, y)}


class Enlarges(nn.Module):
    """ONNX Runtime resizes so in a way of its own, which shows only where x is above `least`."""

    def __init__(self, least):
        super().__init__()
        self.conv, self.least = nn.Conv2d(3, 4, 3, padding=1), least

    def forward(self, x):
        shows = (x.flatten(1).amin(1) > self.least).float()[:, None, None, None]
        return F.interpolate(self.conv(x), size=(64, 64), mode="nearest") * shows
