"""A three-tier chain and two toy models for the control tests: VGG-like and MobileNet-like."""

from dataclasses import replace

from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier

GOAL = Goal(end_energy=0.3, total_energy=0.1, latency=0.6)
FAST, SLOW = 40e6, 625e3  # bytes/s: 320 and 5 Mbit/s


def toy(name: str, payload_kb: list[int]) -> Graph:
    count = len(payload_kb) - 1
    sizes = tuple(1000 * kb for kb in payload_kb)
    return Graph(name, tuple(f"l{i}" for i in range(count)), sizes, (1000,) * count)


VGG = toy("vgg", [602, 600, 600, 400, 400, 300, 300, 200, 200, 100, 100, 100, 50, 25, 16, 16, 4])
MOBILE = toy("mobile", [602, 600, 300, 300, 150, 150, 100, 100, 60, 60, 40, 40, 30, 30, 20, 16, 4])
SECONDS = {"vgg": 0.4, "mobile": 0.06}


def chain(graph: Graph) -> Profile:
    """end -> edge -> cloud; edge is 3 times as fast as end, cloud 15 times."""
    layer_s = SECONDS[graph.name] / len(graph)

    def tier(name: str, speed: float, power: Power) -> Tier:
        return Tier(name, (layer_s / speed,) * len(graph), power)

    tiers = (
        tier("end", 1, Power(5.0, 2.0, 1.5, 1.0)),
        tier("edge", 3, Power(20.0, 3.0, 3.0, 1.0)),
        tier("cloud", 15, Power(100.0, 3.0, 3.0, 1.0)),
    )
    pairs = [("end", "edge"), ("edge", "end"), ("edge", "cloud"), ("cloud", "edge")]
    return Profile(tiers, tuple(Link(*pair, 0.0005, FAST) for pair in pairs))


def throttled(profile: Profile, rate: float = SLOW, pair: tuple[str, str] = ("edge", "cloud")):
    """The same with one link at another rate, both ways."""
    for way in (pair, pair[::-1]):
        link = profile.link(*way)
        assert link is not None
        profile = profile.with_link(replace(link, bytes_per_s=rate))
    return profile


def slowed(profile: Profile, tier: str, slowdown: float) -> Profile:
    """The same with one tier slower."""
    return profile.with_tier(replace(profile.tier(tier), slowdown=slowdown))


def row_of(profile: Profile, tier: str, factor: float, runtime: str = "onnx") -> LayerTimes:
    """A row in which that tier takes `factor` times its seconds of the row in use."""
    return LayerTimes(runtime, tuple(factor * s for s in profile.tier(tier).layer_s))


def with_layer_times(profile: Profile, tier: str, row: LayerTimes) -> Profile:
    """The same with that row added to one tier."""
    return profile.with_tier(profile.tier(tier).with_layer_times(row))
