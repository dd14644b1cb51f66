"""The blocks of published architectures: multiply-adds, values, weights. No model is loaded.

A block's values are all that cross the cut behind it. Batch 1; pictures of 224 x 224.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

CLASSES = 1000
_TOKENS, _VOCABULARY = (128, 32), 32128  # read and written by the encoder-decoder


class Block(NamedTuple):
    """name, multiply-adds, values that cross the cut behind it, weights that it reads.

    The name's last part says what most of the multiply-adds are (core/policies/layer_kind.py).
    """

    name: str
    macs: int
    values: int
    weights: int


def _mobilenet() -> Iterator[Block]:
    """Table 2 of arXiv 1801.04381."""
    side, channels = 112, 32
    yield Block("stem.conv", 27 * channels * side**2, channels * side**2, 27 * channels)
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
    for expand, out, repeats, stride in (*stages, (6, 160, 3, 2), (6, 320, 1, 1)):
        for repeat in range(repeats):
            wide = expand * channels
            widening = channels * wide if expand > 1 else 0
            macs = widening * side**2
            side //= stride if repeat == 0 else 1
            macs += (9 * wide + wide * out) * side**2
            weights = widening + 9 * wide + wide * out
            channels = out
            yield Block(f"bottleneck {out}.{repeat}.conv", macs, out * side**2, weights)
    yield Block("head.conv", channels * 1280 * side**2, 1280, channels * 1280)
    yield _linear(1280, CLASSES)


def _resnet() -> Iterator[Block]:
    """ResNet-50, table 1 of arXiv 1512.03385."""
    side, channels = 56, 64
    yield Block("stem.conv", 147 * 64 * 112**2, channels * side**2, 147 * 64)
    for stage, (width, repeats) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for repeat in range(repeats):
            narrowing, rest = channels * width, 13 * width * width
            shortcut = 4 * channels * width if repeat == 0 else 0
            macs = narrowing * side**2
            if repeat == 0 and stage:
                side //= 2
            macs += (rest + shortcut) * side**2
            channels = 4 * width
            weights = narrowing + rest + shortcut
            yield Block(f"bottleneck {width}.{repeat}.conv", macs, channels * side**2, weights)
    yield _linear(channels, CLASSES)


def _vgg() -> Iterator[Block]:
    """VGG-16, table 1 of arXiv 1409.1556; a pool is part of the convolution before it."""
    side, channels = 224, 3
    for width, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for repeat in range(repeats):
            weights = 9 * channels * width
            macs = weights * side**2
            channels = width
            side //= 2 if repeat == repeats - 1 else 1
            yield Block(f"conv {width}.{repeat}", macs, width * side**2, weights)
    for inputs, outputs in ((channels * side**2, 4096), (4096, 4096), (4096, CLASSES)):
        yield _linear(inputs, outputs)


def _alexnet() -> Iterator[Block]:
    """Section 5 of arXiv 1404.5997, as torchvision has it; a pool is part of its convolution."""
    channels = 3
    convolutions = ((11, 64, 55, 27), (5, 192, 27, 13), (3, 384, 13, 13), (3, 256, 13, 13))
    for number, (kernel, width, side, after) in enumerate((*convolutions, (3, 256, 13, 6))):
        weights = kernel**2 * channels * width
        channels = width
        yield Block(f"conv {width}.{number}", weights * side**2, width * after**2, weights)
    for inputs, outputs in ((channels * 6**2, 4096), (4096, 4096), (4096, CLASSES)):
        yield _linear(inputs, outputs)


def _vit() -> Iterator[Block]:
    """ViT-B/16, table 1 of arXiv 2010.11929; the last block hands on the class token alone."""
    width, layers, tokens = 768, 12, 14**2 + 1
    yield Block("patches.conv", width**2 * (tokens - 1), tokens * width, width * (width + tokens))
    for layer in range(layers):
        weights = 12 * width**2
        macs = weights * tokens + 2 * tokens**2 * width
        values = width if layer == layers - 1 else tokens * width
        yield Block(f"block {layer}.attention", macs, values, weights)
    yield _linear(width, CLASSES)


def _t5() -> Iterator[Block]:
    """T5-small, arXiv 1910.10683: 128 tokens are read, 32 written in one pass, as numbers.

    What was read crosses every cut of the decoder.
    """
    width, layers, (read, written) = 512, 6, _TOKENS
    square, table = width**2, _VOCABULARY * width
    for layer in range(layers):
        weights = 12 * square
        macs = weights * read + 2 * read**2 * width
        values = read * width + 2 * written  # the numbers of eight bytes go with it
        weights += table if layer == 0 else 0
        yield Block(f"encoder {layer}.attention", macs, values, weights)
    for layer in range(layers):
        macs = 14 * square * written + 2 * square * read + 2 * written * (written + read) * width
        values = written * width + (read * width if layer < layers - 1 else 0)
        yield Block(f"decoder {layer}.attention", macs, values, 16 * square)
    yield Block("linear 32128", table * written, 2 * written, table)


def _linear(inputs: int, outputs: int) -> Block:
    return Block(f"linear {outputs}", inputs * outputs, outputs, inputs * outputs)


ARCHITECTURES: Mapping[str, Callable[[], Iterator[Block]]] = {
    "mobilenet_v2": _mobilenet,
    "resnet50": _resnet,
    "vgg16": _vgg,
    "alexnet": _alexnet,
    "vit_b_16": _vit,
    "t5_small": _t5,
}
# Bytes that go in: pictures of eight bits a colour, or numbers of tokens of eight bytes.
INPUT_BYTES = dict.fromkeys(ARCHITECTURES, 3 * 224 * 224) | {"t5_small": 8 * sum(_TOKENS)}
