"""Real Ray on this machine. Every cluster is started and ended by the test module that needs it."""

import pytest
from torch import nn

from edgesplit import EdgeSplit
from experiments.shared.small_net import small_net


@pytest.fixture(autouse=True)
def _no_cluster_named_outside(monkeypatch, tmp_path):
    """A cluster that the developer happens to run must not be joined by accident."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("EDGESPLIT_NODE_ENV", str(tmp_path / "no.env"))


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


@pytest.fixture(scope="module")
def one_cluster():
    """Sessions of a module share the embedded cluster, instead of starting one each."""
    with EdgeSplit(small_net()):
        yield
