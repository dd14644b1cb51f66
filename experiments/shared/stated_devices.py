"""The devices of replays: stated tables, no measurement. A Pi 4, a small virtual machine, a GPU.

Layers are the blocks of the published architectures. A device takes seconds in proportion to a
block's multiply-adds; a whole model takes the Pi about what public layer tables have for it
(Scission, arXiv 2008.03523), the machine behind the trace a fifth of that, the GPU a 25th. Models
without a public table are assumed to have ResNet-50's rate of multiply-adds on the Pi.
"""

from collections.abc import Mapping

from edgesplit.core.graph import Graph
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.errors import ConfigError
from experiments.shared.architectures import ARCHITECTURES, INPUT_BYTES
from experiments.shared.trace import MBIT

END, EDGE, CLOUD = TIERS = ("end", "edge", "cloud")
SPEED = {END: 1.0, EDGE: 5.0, CLOUD: 25.0}  # times the Pi's
_TABLED_S = {"mobilenet_v2": 0.444, "resnet50": 0.961, "vgg16": 2.111}
_RATED_AS = "resnet50"
VALUE_BYTES = 4
LATENCY_S = 0.01  # of each link, one way
WAN_BYTES_PER_S = 50 * MBIT
POWER = Power(12, 12, 12, 12, "the paper's Pi: 12 W in every phase")
MODELS = tuple(ARCHITECTURES)


def _macs_of(model: str) -> int:
    return sum(block.macs for block in ARCHITECTURES[model]())


# Seconds of the whole model on the Pi.
PI_S = {
    model: _TABLED_S.get(model, _TABLED_S[_RATED_AS] * _macs_of(model) / _macs_of(_RATED_AS))
    for model in MODELS
}
LINKS_DESCRIPTION = (
    "The link end-edge is the trace, both ways, edge-cloud 50 Mbit/s, each 10 ms one way"
)
DEVICES_DESCRIPTION = (
    "Stated device tables: seconds in proportion to multiply-adds; the whole model takes the end "
    f"tier {_TABLED_S['mobilenet_v2']} s (MobileNetV2), {_TABLED_S['resnet50']} s (ResNet-50) or "
    f"{_TABLED_S['vgg16']} s (VGG-16), other models ResNet-50's rate; edge a fifth and cloud a "
    "25th of that"
)


def graph_of(model: str) -> Graph:
    """The model's blocks as a graph. Raises ConfigError for a model without a table."""
    if model not in ARCHITECTURES:
        raise ConfigError(f"no table of {model!r}; there are {', '.join(MODELS)}")
    blocks = list(ARCHITECTURES[model]())
    sizes = (INPUT_BYTES[model], *(VALUE_BYTES * block.values for block in blocks))
    weights = tuple(VALUE_BYTES * block.weights for block in blocks)
    names, macs = tuple(block.name for block in blocks), tuple(block.macs for block in blocks)
    return Graph(model, names, sizes, weights, macs)


def profile_of(
    model: str, trace_bytes_per_s: float, watts: Mapping[str, Power] | None = None
) -> tuple[Graph, Profile]:
    """The graph and what is calibrated, with that rate of the link that the trace will change.

    watts: by tier; None: POWER on each.
    """
    graph = graph_of(model)
    share = PI_S[model] / sum(graph.macs)
    tiers = tuple(
        Tier(
            name,
            tuple(share * m / SPEED[name] for m in graph.macs),
            POWER if watts is None else watts[name],
            provenance="stated",
        )
        for name in TIERS
    )
    links = []
    for pair, rate in (((END, EDGE), trace_bytes_per_s), ((EDGE, CLOUD), WAN_BYTES_PER_S)):
        links += [Link(*way, LATENCY_S, rate, "stated") for way in (pair, pair[::-1])]
    return graph, Profile(tiers, tuple(links))
