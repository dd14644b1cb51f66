"""Split output == whole output for every cut of every model, and == model(x) up to rounding."""

import pytest
import sample_models as samples
import torch
from split_law import broken_splits, close, same_bits, through_wire
from torch import nn

from edgesplit.caller.inputs.zoo import load_model
from edgesplit.node.program.export.model import export
from edgesplit.node.program.torchvision_ops import import_torchvision

ZOO = {
    "vgg16": 32,
    "alexnet": 64,
    "mobilenet_v2": 32,
    "resnet50": 32,
    "densenet121": 32,
    "googlenet": 32,
    "swin_t": 32,
}

pytestmark = pytest.mark.usefixtures("one_thread")  # results depend on how many there are


def check(model, *args):
    """The law for one model on these inputs."""
    torch.manual_seed(0)
    exported = export(model, args)
    assert broken_splits(exported, args) == []
    values = exported.program.segment(0, len(exported.program))(exported.flatten(args))
    with torch.no_grad():
        expected = model(*(x.clone() for x in args))
    assert close(exported.unflatten(values), expected)


@pytest.mark.parametrize("name", ZOO)
def test_torchvision(name):
    size = ZOO[name]
    check(load_model(name), torch.randn(1, 3, size, size))


def test_vit():
    """At 32 pixels, not 224: the same 396 layers on 5 tokens, not 197."""
    model = import_torchvision().models.vit_b_16(image_size=32).eval()
    nn.init.normal_(model.heads.head.weight, std=0.02)
    check(model, torch.randn(1, 3, 32, 32))


def test_swin_masks_at_full_size():
    """Here the graph with its in-place mask writes gave a silently wrong answer (2.9e-3)."""
    model = load_model("swin_t")
    x = torch.randn(1, 3, 224, 224)
    exported = export(model, (x,))
    program, values = exported.program, exported.flatten((x,))
    whole = program.segment(0, len(program))(values)
    for step in program.steps():
        values = step(through_wire(values))
    assert same_bits(values, whole)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (samples.UNet, (1, 3, 16, 16)),
        (samples.DictResult, (2, 6)),
        (samples.SharedBuffer, (1, 6)),
        (samples.Aliased, (2, 6)),
        (samples.InPlace, (1, 6)),
        (samples.Attention, (1, 5, 16)),
        (samples.Typed, (2, 6)),
        (samples.Control, (2, 6)),
        (samples.Several, (2, 6)),
        (samples.Spectrum, (2, 6)),
        (samples.Recurrent, (1, 5, 6)),
    ],
)
def test_samples(make, shape):
    torch.manual_seed(0)
    check(make().eval(), torch.randn(shape))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("batch_first", [True, False])
def test_transformer(batch_first):
    model = nn.Transformer(32, 2, 2, 2, 64, batch_first=batch_first).eval()
    shapes = [(2, 7, 32), (2, 5, 32)] if batch_first else [(7, 2, 32), (5, 2, 32)]
    check(model, *(torch.randn(shape) for shape in shapes))


def test_tied_weights():
    check(samples.Tied().eval(), torch.randint(0, 20, (1, 7)))


def test_half_precision():
    model = samples.SharedBuffer().bfloat16().eval()
    exported = export(model, (torch.randn(1, 6).bfloat16(),))
    assert broken_splits(exported, (torch.randn(1, 6).bfloat16(),)) == []
