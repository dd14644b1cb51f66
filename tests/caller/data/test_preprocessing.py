"""Preprocessing as layers: torchvision's numbers, within a level; and cut as any other layer."""

import pytest
import torch
from split_law import broken_splits
from torch import nn

from edgesplit.caller.data.preprocessing import Preprocessing, with_preprocessing
from edgesplit.errors import InputError
from edgesplit.node.program.export.model import export
from edgesplit.node.program.torchvision_ops import import_torchvision
from edgesplit.node.runtime.check import TOLERANCE, difference
from edgesplit.node.runtime.onnx import OnnxRuntime
from edgesplit.node.runtime.onnx_export import export_graph

LEVEL = 1 / 255 / 0.224  # of 255, as a normalised value of the channel with the least deviation
ROUNDING = 1e-5
SIZES = [(480, 640), (301, 200), (224, 224), (50, 33), (256, 1000)]


def picture(height, width, seed=0):
    drawn = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, height, width), generator=drawn, dtype=torch.uint8)


def usual(x, **settings):
    """What torchvision makes of it."""
    import_torchvision()
    from torchvision.transforms import _presets

    return _presets.ImageClassification(**settings)(x)


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 10),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_numbers_are_torchvisions(size, interpolation):
    import_torchvision()
    from torchvision.transforms import InterpolationMode

    x, mode = picture(*size), InterpolationMode(interpolation)
    made = Preprocessing(interpolation=interpolation)
    rounded = usual(x, crop_size=224, interpolation=mode)
    assert (made(x) - rounded).abs().max() <= 0.51 * LEVEL, "half a level: it rounds, layers do not"
    in_two_steps = made.normalising()(made.resized(x))
    assert (in_two_steps - rounded).abs().max() <= ROUNDING
    if interpolation == "bilinear":  # of floats torchvision keeps fractions, but no bounds
        assert (made(x) - usual(x.float() / 255, crop_size=224)).abs().max() <= ROUNDING


def test_settings_of_other_weights():
    import_torchvision()
    from torchvision.models import EfficientNet_B3_Weights

    preset = EfficientNet_B3_Weights.DEFAULT.transforms()
    (size,), (resize,) = preset.crop_size, preset.resize_size
    made = Preprocessing(size, resize, preset.mean, preset.std, preset.interpolation.value)
    x = picture(400, 500)
    assert made(x).shape == (1, 3, 300, 300)
    assert (made(x) - preset(x)).abs().max() <= 0.51 * LEVEL


def test_a_square_picture_of_the_models_size_is_only_normalised():
    x = picture(64, 64)
    found = Preprocessing(64, 64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))(x)
    assert torch.allclose(found, x / 255)
    assert torch.allclose(Preprocessing(None, mean=(0, 0, 0), std=(1, 1, 1))(x), x / 255)


@pytest.mark.parametrize("preprocessing", [Preprocessing(32), Preprocessing(None)], ids=str)
def test_every_cut_of_a_model_behind_it_is_the_whole(preprocessing):
    x = picture(48, 60)
    whole = with_preprocessing(small_net(), preprocessing)
    exported = export(whole, (x,))
    assert torch.equal(whole(x), small_net()(preprocessing(x)))
    assert broken_splits(exported, (x,)) == []
    assert exported.flatten((x,), None)[0].dtype == torch.uint8


def test_one_export_takes_pictures_of_all_sizes():
    exported = export(with_preprocessing(small_net(), Preprocessing(32)), (picture(48, 60),))
    for size in SIZES:
        assert exported.accepts((picture(*size),), {})
        assert broken_splits(exported, (picture(*size),)) == []


def test_onnx_agrees_so_that_the_model_may_run_in_it():
    x = picture(120, 90)
    exported = export(with_preprocessing(small_net()), (x,))
    program, values = exported.program, exported.flatten((x,), None)
    made = OnnxRuntime(export_graph(program, values), program.weights, 1)
    n = len(program)
    found = made.prepare(0, n)(values)
    assert difference(found, program.segment(0, n)(values)) <= TOLERANCE


@pytest.mark.parametrize("is_training", [False, True])
def test_the_model_is_left_as_it_was(is_training):
    model = small_net().train(is_training)
    model[0].eval()
    modes = [part.training for part in model.modules()]
    whole = with_preprocessing(model)
    assert whole.model is model
    assert [part.training for part in model.modules()] == modes
    assert whole.training == is_training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size must be"),
        ({"size": 2.5}, "size must be"),
        ({"size": 64, "resize": 32}, "resize must be 64 pixels"),
        ({"size": None, "resize": 32}, "needs a size"),
        ({"mean": (0.5, 0.5)}, "mean must be 3 numbers"),
        ({"std": (0.5, 0, 0.5)}, "std must be above 0"),
        ({"interpolation": "nearest"}, "bilinear, bicubic"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        Preprocessing(**settings)


@pytest.mark.parametrize("x", [torch.zeros(1, 3, 8, 8), picture(8, 8)[0], picture(8, 8)[:, :1]])
def test_what_is_no_picture_as_decoded(x):
    with pytest.raises(InputError, match="uint8 of shape Nx3xHxW"):
        Preprocessing()(x)


def test_what_is_no_model():
    with pytest.raises(InputError, match=r"torch\.nn\.Module"):
        with_preprocessing("resnet18")
    with pytest.raises(InputError, match="must be a Preprocessing"):
        with_preprocessing(small_net(), 224)
