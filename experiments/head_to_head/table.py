"""A model's layers on devices: what the benchmark replays."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgesplit.config import Config
from edgesplit.core.graph import Graph
from edgesplit.core.profile import Profile
from experiments.shared.stated_devices import EDGE, MODELS, profile_of
from experiments.shared.trace import MBIT

PICTURE_VALUES, FLOAT_BYTES = 3 * 224 * 224, 4
JPEG_BYTES = 150_000  # of the picture that Scission sends
RAW, JPEG = "fp32 input", "JPEG-sized input"
LATE = 1.25  # times what the entry tier takes alone: a request that takes longer is late


@dataclass(frozen=True)
class Table:
    """profile: as measured or stated; conditions replace the rates of the entry tier's links.

    inputs: other forms of the input by name, in bytes, that one-tier plans are also tried with.
    shared_tier: the tier that conditions load, share and lose. provenance: where figures are from.
    """

    name: str
    graph: Graph
    profile: Profile
    shared_tier: str
    provenance: str
    inputs: Mapping[str, int] = field(default_factory=dict)

    @property
    def entry_s(self) -> float:
        """Seconds of all layers on the entry tier."""
        tier = self.profile.tiers[0]
        return sum(tier.layer_s) * tier.slowdown

    @property
    def limit_s(self) -> float:
        """Beyond which a request is late."""
        return LATE * self.entry_s


def stated_tables() -> list[Table]:
    """The six models on the stated devices, with the watts that ship with the product."""
    watts = Config().power()
    found = []
    for model in MODELS:
        graph, profile = profile_of(model, MBIT, watts)
        is_picture = graph.payload_bytes[0] == PICTURE_VALUES
        inputs = {RAW: FLOAT_BYTES * PICTURE_VALUES, JPEG: JPEG_BYTES} if is_picture else {}
        found.append(Table(model, graph, profile, EDGE, "stated", inputs))
    return found
