"""Synthetic models and machines for the planner's tests: shapes of VGG-16 and MobileNetV2."""

from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier

MBIT = 1e6 / 8
# Multiply-adds per second, and watts: roughly a Raspberry Pi 5, a laptop, a PC with a GPU.
RATES = {"end": 2e10, "edge": 1e11, "cloud": 2e12}
POWERS = {
    "end": Power(7.0, 4.0, 3.5, 2.7),
    "edge": Power(30.0, 8.0, 7.0, 5.0),
    "cloud": Power(250.0, 60.0, 55.0, 45.0),
}
VGG = (64, 64, "P", 128, 128, "P", 256, 256, 256, "P", 512, 512, 512, "P", 512, 512, 512, "P")
# Expansion, output channels, repeats, stride: table 2 of arXiv 1801.04381.
MOBILENET = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def vgg_like():
    """(graph, multiply-adds per layer) of 18 conv and pool layers and three linear ones."""
    rows, channels, side = [], 3, 224
    for step in VGG:
        if step == "P":
            side //= 2
            rows.append(("pool", channels * side * side, channels * side * side, 0))
            continue
        weights = 9 * channels * step
        channels = step
        rows.append(("conv", weights * side * side, channels * side * side, weights))
    for inputs, outputs in ((25088, 4096), (4096, 4096), (4096, 1000)):
        rows.append(("linear", inputs * outputs, outputs, inputs * outputs))
    return _graph("vgg-like", rows)


def mobilenet_like():
    """(graph, multiply-adds per layer): each bottleneck is its expansion, depthwise, projection."""
    rows, channels, side = [("stem", 27 * 32 * 112 * 112, 32 * 112 * 112, 27 * 32)], 32, 112
    for expand, outputs, repeats, stride in MOBILENET:
        for repeat in range(repeats):
            wide = channels * expand
            weights = channels * wide
            rows.append(("expand", weights * side * side, wide * side * side, weights))
            side //= stride if repeat == 0 else 1
            rows.append(("depthwise", 9 * wide * side * side, wide * side * side, 9 * wide))
            rows.append(
                ("project", wide * outputs * side * side, outputs * side * side, wide * outputs)
            )
            channels = outputs
    rows.append(("head", 320 * 1280 * 49, 1280, 320 * 1280))
    rows.append(("linear", 1280 * 1000, 1000, 1280 * 1000))
    return _graph("mobilenet-like", rows)


def three_tiers(work, wifi_mbit, slowdown=1.0, direct=True):
    """end - edge over Wi-Fi, edge - cloud over the internet, end - cloud directly if `direct`."""
    tiers = tuple(
        Tier(
            name,
            tuple(w / RATES[name] for w in work),
            POWERS[name],
            slowdown if name == "edge" else 1.0,
        )
        for name in RATES
    )
    links = [*_pair("end", "edge", 2e-3, wifi_mbit), *_pair("edge", "cloud", 15e-3, 200)]
    if direct:
        links += _pair("end", "cloud", 18e-3, 20)
    return Profile(tiers, tuple(links))


# Seconds of a kind of layer in another runtime, relative to eager torch.
FACTORS = {
    "onnx": {"depthwise": 0.2, "expand": 0.3, "project": 0.3, "conv": 0.55, "linear": 1.3},
    "compile": {"depthwise": 0.4, "conv": 0.8, "linear": 0.9, "pool": 0.2},
}


def with_rows(profile, graph, runtimes):
    """The same profile with those runtimes' rows, given by tier: {"end": ["onnx"]}."""
    kinds = [layer.rstrip("0123456789") for layer in graph.layers]
    for name, added in runtimes.items():
        tier = profile.tier(name)
        for runtime in added:
            factors = [FACTORS[runtime].get(kind, 1.0) for kind in kinds]
            layer_s = tuple(s * f for s, f in zip(profile.tier(name).layer_s, factors, strict=True))
            tier = tier.with_layer_times(LayerTimes(runtime, layer_s))
        profile = profile.with_tier(tier)
    return profile


def _pair(u, v, latency_s, mbit):
    return [Link(u, v, latency_s, mbit * MBIT), Link(v, u, latency_s, mbit * MBIT)]


def _graph(name, rows):
    layers = tuple(f"{kind}{k}" for k, (kind, *_) in enumerate(rows))
    payload = (3 * 224 * 224 * 4, *(4 * out for _, _, out, _ in rows))
    graph = Graph(name, layers, payload, tuple(4 * weights for *_, weights in rows))
    return graph, [work for _, work, _, _ in rows]
