"""The devices of the replay: stated tables, no measurement. A Pi 4, a small virtual machine, a GPU.

Layers are the blocks of the published architectures. A device takes seconds in proportion to a
block's multiply-adds; a whole model takes the Pi about what public layer tables have for it
(Scission, arXiv 2008.03523), the machine behind the trace a fifth of that, the GPU a 25th.
"""

from collections.abc import Callable, Iterator

from edgesplit.core.graph import Graph
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.errors import ConfigError
from experiments.tail.trace import MBIT

END, EDGE, CLOUD = TIERS = ("end", "edge", "cloud")
SPEED = {END: 1.0, EDGE: 5.0, CLOUD: 25.0}  # times the Pi's
PI_S = {"mobilenet_v2": 0.444, "resnet50": 0.961, "vgg16": 2.111}
INPUT_BYTES = 3 * 224 * 224  # a picture of eight bits a colour
VALUE_BYTES = 4
ANSWER = 1000  # classes
LATENCY_S = 0.01  # of each link, one way
WAN_BYTES_PER_S = 50 * MBIT
POWER = Power(12, 12, 12, 12, "the paper's Pi: 12 W in every phase")
DESCRIPTION = (
    f"Stated device tables: seconds in proportion to multiply-adds; the whole model takes the end "
    f"tier {PI_S['mobilenet_v2']} s (MobileNetV2), {PI_S['resnet50']} s (ResNet-50) or "
    f"{PI_S['vgg16']} s (VGG-16), edge a fifth and cloud a 25th of that. The link end-edge is the "
    "trace, both ways, edge-cloud 50 Mbit/s, each 10 ms one way; 12 W on the end in every phase."
)
_Block = tuple[str, int, int]  # name, multiply-adds, values that leave it


def graph_of(model: str) -> tuple[Graph, tuple[int, ...]]:
    """The model's blocks as a graph, and the multiply-adds of each. Raises ConfigError."""
    if model not in _BLOCKS:
        raise ConfigError(f"no table of {model!r}; there are {', '.join(_BLOCKS)}")
    blocks = list(_BLOCKS[model]())
    sizes = (INPUT_BYTES, *(VALUE_BYTES * values for _, _, values in blocks))
    names = tuple(name for name, _, _ in blocks)
    macs = tuple(macs for _, macs, _ in blocks)
    return Graph(model, names, sizes, (1,) * len(blocks), macs), macs


def profile_of(model: str, trace_bytes_per_s: float) -> tuple[Graph, Profile]:
    """The graph and what is calibrated, with that rate of the link that the trace will change."""
    graph, macs = graph_of(model)
    share = PI_S[model] / sum(macs)
    tiers = tuple(
        Tier(name, tuple(share * m / SPEED[name] for m in macs), POWER, provenance="stated")
        for name in TIERS
    )
    links = []
    for pair, rate in (((END, EDGE), trace_bytes_per_s), ((EDGE, CLOUD), WAN_BYTES_PER_S)):
        links += [Link(*way, LATENCY_S, rate, "stated") for way in (pair, pair[::-1])]
    return graph, Profile(tiers, tuple(links))


def _mobilenet() -> Iterator[_Block]:
    """Table 2 of arXiv 1801.04381."""
    side, channels = 112, 32
    yield "stem", 27 * channels * side**2, channels * side**2
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
    for expand, out, repeats, stride in (*stages, (6, 160, 3, 2), (6, 320, 1, 1)):
        for repeat in range(repeats):
            wide = expand * channels
            macs = channels * wide * side**2 if expand > 1 else 0
            side //= stride if repeat == 0 else 1
            macs += (9 * wide + wide * out) * side**2
            channels = out
            yield f"bottleneck {out}.{repeat}", macs, out * side**2
    yield "head", channels * 1280 * side**2, 1280
    yield "linear", 1280 * ANSWER, ANSWER


def _resnet() -> Iterator[_Block]:
    """ResNet-50, table 1 of arXiv 1512.03385."""
    side, channels = 56, 64
    yield "stem", 147 * 64 * 112**2, channels * side**2
    for stage, (width, repeats) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for repeat in range(repeats):
            macs = channels * width * side**2
            if repeat == 0 and stage:
                side //= 2
            macs += (9 * width * width + 4 * width * width) * side**2
            macs += channels * 4 * width * side**2 if repeat == 0 else 0
            channels = 4 * width
            yield f"bottleneck {width}.{repeat}", macs, channels * side**2
    yield "linear", channels * ANSWER, ANSWER


def _vgg() -> Iterator[_Block]:
    """VGG-16, table 1 of arXiv 1409.1556; a pool is part of the convolution before it."""
    side, channels = 224, 3
    for width, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for repeat in range(repeats):
            macs = 9 * channels * width * side**2
            channels = width
            side //= 2 if repeat == repeats - 1 else 1
            yield f"conv {width}.{repeat}", macs, width * side**2
    for inputs, outputs in ((channels * side**2, 4096), (4096, 4096), (4096, ANSWER)):
        yield f"linear {outputs}", inputs * outputs, outputs


_BLOCKS: dict[str, Callable[[], Iterator[_Block]]] = {
    "mobilenet_v2": _mobilenet,
    "resnet50": _resnet,
    "vgg16": _vgg,
}
MODELS = tuple(_BLOCKS)
