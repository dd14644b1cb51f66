"""In-place operators are replaced only where no other value can see the difference."""

import torch
from torch import nn

from edgesplit.node.program.export.inplace import make_private_functional


def targets_after(module, x):
    exported = torch.export.export(module.eval(), (x,), strict=False)
    make_private_functional(exported.graph_module)
    assert torch.equal(exported.module()(x.clone()), module(x.clone()))
    return [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]


class Shared(nn.Module):
    def __init__(self, step):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.step = step

    def forward(self, x):
        return self.step(self.conv(x))


def test_an_activation_behind_a_convolution_is_replaced():
    block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU6(inplace=True))
    targets = targets_after(block, torch.randn(1, 3, 4, 4))
    assert "aten.hardtanh.default" in targets
    assert "aten.hardtanh_.default" not in targets


def test_a_value_used_again_keeps_its_in_place_operator():
    def step(y):
        doubled = y * 2
        y.relu_()
        return doubled + y

    assert "aten.relu_.default" in targets_after(Shared(step), torch.randn(1, 3, 4, 4))


def test_a_view_keeps_its_in_place_operator():
    def step(y):
        y.view(-1).relu_()
        return y * 2

    assert "aten.relu_.default" in targets_after(Shared(step), torch.randn(1, 3, 4, 4))


def test_an_eval_dropout_hides_an_alias():
    def step(y):
        z = torch.nn.functional.dropout(y, training=False)
        z.relu_()
        return y * 2

    assert "aten.relu_.default" in targets_after(Shared(step), torch.randn(1, 3, 4, 4))


def test_a_value_added_to_itself_keeps_its_in_place_operator():
    model = Shared(lambda y: y.add_(y))
    assert "aten.add_.Tensor" in targets_after(model, torch.randn(1, 3, 4, 4))
