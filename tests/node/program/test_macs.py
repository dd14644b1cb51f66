"""Multiply-adds of layers: by hand for small models, by known figures for torchvision's."""

import pytest
import torch
from torch import nn

from edgesplit.node.program.export.model import export
from edgesplit.node.program.macs import macs_of
from edgesplit.node.program.profiler import graph_of, payload_forms
from edgesplit.node.program.torchvision_ops import import_torchvision


def counted(model, *args):
    exported = export(model, args)
    forms = payload_forms(exported.program, exported.flatten(args))
    graph = graph_of("model", exported.program, forms)
    return dict(zip(graph.layers, graph.macs, strict=True)) if graph.macs else None


def test_a_small_model():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, groups=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8),
        nn.Flatten(), nn.Linear(8 * 5 * 5, 10),
    )  # fmt: skip
    assert counted(model, torch.rand(2, 3, 15, 15)) == {
        "0.conv2d": 2 * 8 * 7 * 7 * 27,
        "1.relu": 0,
        "2.conv2d": 2 * 8 * 5 * 5 * 9,
        "3.flatten": 0,
        "4.linear": 2 * 200 * 10,
    }


def test_attention_and_recurrence():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    macs = counted(layer, torch.rand(3, 5, 16))
    assert macs["self_attn.scaled_dot_product_attention"] == 2 * 3 * 5 * 5 * 16
    assert macs["linear1.linear"] == 3 * 5 * 16 * 32
    macs = counted(nn.LSTM(10, 20, 2), torch.rand(5, 3, 10))
    assert macs["lstm"] == 15 * 4 * 20 * (10 + 20 + 20 + 20)


@pytest.mark.parametrize(("name", "giga"), [("mobilenet_v2", 0.3008), ("vgg11", 7.6091)])
def test_known_models(name, giga):
    """torchvision's own documentation has 0.3 and 7.61 of them."""
    model = import_torchvision().models.get_model(name).eval()
    macs = counted(model, torch.rand(1, 3, 224, 224))
    assert sum(macs.values()) / 1e9 == pytest.approx(giga, abs=1e-4)


class Selects(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return self.linear(x[x[:, 0] > 0])


class Chooses(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x * 2, (x,))


@pytest.mark.parametrize("model", [Selects(), Chooses()])
def test_not_known(model):
    """Rows that depend on values; a branch that does: the graph has none then."""
    assert counted(model, torch.rand(4, 6)) is None


def test_nothing_is_computed_and_nothing_drawn():
    model = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)).train()
    exported = export(model, (torch.rand(2, 6),), mode="as-is")
    forms = payload_forms(exported.program, [torch.rand(2, 6)])
    state = torch.get_rng_state()
    assert sum(macs_of(exported.program, forms[0])) == 72
    assert torch.equal(torch.get_rng_state(), state)
