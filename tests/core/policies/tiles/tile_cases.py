"""Stacks and devices for the tile-parallel cost models."""

import numpy as np

from edgesplit.core.policies.tiles.conv_stack import ConvStack, WindowLayer
from edgesplit.core.policies.tiles.tile_cost import TileDevice

FAST = TileDevice("pc", 4e10, 50e6, compute_w=30.0, transmit_w=5.0)
SLOW = TileDevice("pi", 5e9, 12e6, compute_w=4.0, transmit_w=1.0)


def window(name, read, layer):
    """A layer with its multiply-adds. read: (height, width, channels); layer: as of WindowLayer."""
    channels, kernel, stride, padding = layer
    made = WindowLayer(name, channels, kernel, stride, padding, 0)
    height, width = (made.size_after(size) for size in read[:2])
    per_value = kernel * kernel * (read[2] if name.startswith("conv") else 1)
    macs = per_value * channels * height * width
    return WindowLayer(name, channels, kernel, stride, padding, macs), (height, width, channels)


def stack_of(read, layers, rest_macs=0):
    """A stack of layers, each (channels, kernel, stride, padding)."""
    made, at = [], read
    for number, layer in enumerate(layers):
        one, at = window(f"conv{number}", at, layer)
        made.append(one)
    return ConvStack("test", *read, tuple(made), rest_macs)


def vgg_stack():
    """The convolutions and poolings of VGG-16, and its linear layers as the rest."""
    read, layers, made = (224, 224, 3), [], []
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers += [("conv", (width, 3, 1, 1))] * count + [("pool", (width, 2, 2, 0))]
    at = read
    for number, (kind, layer) in enumerate(layers):
        one, at = window(f"{kind}{number}", at, layer)
        made.append(one)
    return ConvStack("vgg16", *read, tuple(made), rest_macs=123_633_664)


def random_stack(seed, layers=5, most_stride=2):
    """Windows of any size, stride and padding, of a map that lasts."""
    generator = np.random.default_rng(seed)
    read = (*generator.integers(20, 60, 2).tolist(), int(generator.integers(1, 5)))
    made, at = [], read
    for number in range(layers):
        kernel = int(generator.integers(1, 5))
        stride = int(generator.integers(1, most_stride + 1)) if min(at[:2]) > 12 else 1
        padding = int(generator.integers(0, kernel))
        if min(at[:2]) + 2 * padding < kernel + 2:
            kernel, padding = 1, 0
        layer = (int(generator.integers(1, 6)), kernel, stride, padding)
        one, at = window(f"conv{number}", at, layer)
        made.append(one)
    return ConvStack("random", *read, tuple(made))


def random_devices(seed, count):
    generator = np.random.default_rng(seed)
    return [
        TileDevice(f"d{k}", *(10 ** generator.uniform((6, 5), (8, 8))).tolist(),
                   *generator.uniform(0, 10, 2).tolist())
        for k in range(count)
    ]  # fmt: skip


def plain_s(stack, device):
    """Seconds of all layers on one device that has the input."""
    return (sum(layer.macs for layer in stack.layers) + stack.rest_macs) / device.macs_per_s
