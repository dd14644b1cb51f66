"""Small versions of well-known classifiers for pictures of 64x64, of ten classes."""

from collections.abc import Callable, Sequence

from torch import nn

from edgesplit.node.program.torchvision_ops import import_torchvision

CLASSES = 10
MOBILENET_WIDTH = 0.35  # the least that its authors list
ALEXNET_SHARE, VGG_SHARE = 4, 8  # of the channels one in so many
_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)  # 0: halve
_HIDDEN = 128


def small_mobilenet_v2() -> nn.Module:
    """torchvision's MobileNetV2 at width 0.35."""
    models = import_torchvision().models
    made: nn.Module = models.mobilenet_v2(num_classes=CLASSES, width_mult=MOBILENET_WIDTH)
    return made


def small_alexnet() -> nn.Module:
    """AlexNet's layers with a quarter of the channels, and 2x2 pixels before the linear ones."""
    first, second, third, fourth = (n // ALEXNET_SHARE for n in (64, 192, 384, 256))
    return nn.Sequential(
        *_conv(3, first, 11, 4),
        nn.MaxPool2d(3, 2),
        *_conv(first, second, 5),
        nn.MaxPool2d(3, 2),
        *_conv(second, third, 3),
        *_conv(third, fourth, 3),
        *_conv(fourth, fourth, 3),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        *(nn.Dropout(), nn.Linear(4 * fourth, 2 * _HIDDEN), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(2 * _HIDDEN, 2 * _HIDDEN), nn.ReLU()),
        nn.Linear(2 * _HIDDEN, CLASSES),
    )


def small_vgg16() -> nn.Module:
    """VGG-16's layers, with batch normalisation, and an eighth of the channels."""
    layers: list[nn.Module] = []
    before = 3
    for channels in _VGG16:
        if not channels:
            layers.append(nn.MaxPool2d(2))
            continue
        made = channels // VGG_SHARE
        layers += [nn.Conv2d(before, made, 3, padding=1), nn.BatchNorm2d(made), nn.ReLU()]
        before = made
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, _HIDDEN), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(), nn.Linear(_HIDDEN, CLASSES))


SMALL_NETS: dict[str, Callable[[], nn.Module]] = {
    "mobilenet_v2": small_mobilenet_v2,
    "alexnet": small_alexnet,
    "vgg16": small_vgg16,
}


def _conv(before: int, after: int, side: int, stride: int = 1) -> Sequence[nn.Module]:
    padding = 2 if side > 3 else 1
    return nn.Conv2d(before, after, side, stride, padding), nn.ReLU()
