"""What can happen to the control loop, and what it asks for in return. Plain values, no behaviour.

Every event carries at_s, seconds on the clock of the scheduler that drives `step`; it never runs
back.
"""

from dataclasses import dataclass
from typing import get_args

from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.goal import Goal
from edgesplit.core.layer_times import TORCH, LayerTimes
from edgesplit.core.payload_codec import CodecSizes, CodecSpeed
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Link, Tier
from edgesplit.core.tier_timing import TierTiming


@dataclass(frozen=True)
class Observed:
    """One request has finished; timings are in route order."""

    at_s: float
    timings: tuple[TierTiming, ...]


@dataclass(frozen=True)
class Transferring:
    """A payload is on its way over a link: sent_bytes of it have left within `seconds`.

    Not counting a pause, the longest. is_over: it was given up, and no more of it leaves; these are
    all of its seconds then.
    """

    at_s: float
    source: str
    target: str
    sent_bytes: int
    seconds: float
    is_over: bool = False


@dataclass(frozen=True)
class LinkProbed:
    """The answer to Probe. seconds: round trip of sent_bytes there and a small message back.

    latency_s: half the round trip of a small message.
    """

    at_s: float
    source: str
    target: str
    sent_bytes: int
    seconds: float
    latency_s: float


@dataclass(frozen=True)
class TierMeasured:
    """The answer to Measure: the seconds that the tier took for layers [start, stop)."""

    at_s: float
    tier: str
    start: int
    stop: int
    seconds: float
    runtime: str = TORCH


@dataclass(frozen=True)
class TierLoaded:
    """What the host of a tier says of itself: about once a second, unasked.

    demand_price: of the tier where several sessions share it (core/fleet/tier_demand.py), as a
    pressure of load at weight 1.
    """

    at_s: float
    tier: str
    host: HostLoad
    demand_price: float = 0.0


@dataclass(frozen=True)
class LayerTimesMeasured:
    """A tier can from now on run layers in that runtime.

    Its seconds are as calibrated: measured beside eager torch, in proportion to its times.
    Earlier layer times of that runtime are replaced.
    """

    at_s: float
    tier: str
    times: LayerTimes


@dataclass(frozen=True)
class RowDropped:
    """A tier cannot run layers in that runtime, or no longer; why: for people."""

    at_s: float
    tier: str
    runtime: str
    why: str = ""


@dataclass(frozen=True)
class CodecsMeasured:
    """What is known of codecs from now on, instead of what was: one that is missing is not used.

    codecs: sizes and losses of each. speeds: by tier, of each codec; tiers that are left out keep
    theirs.
    """

    at_s: float
    codecs: tuple[CodecSizes, ...]
    speeds: tuple[tuple[str, tuple[CodecSpeed, ...]], ...] = ()


@dataclass(frozen=True)
class TierLost:
    """A tier cannot be reached any more."""

    at_s: float
    tier: str


@dataclass(frozen=True)
class TierJoined:
    """A lost tier is back."""

    at_s: float
    tier: str


@dataclass(frozen=True)
class TierAdded:
    """A tier that the loop did not begin with: plans may use it from now on.

    tier: profiled on the same layers. links: between it and tiers that are there, both ways.
    """

    at_s: float
    tier: Tier
    links: tuple[Link, ...]


@dataclass(frozen=True)
class TierRemoved:
    """A tier is no candidate any more: no plan uses it from now on. Never the entry tier."""

    at_s: float
    tier: str


@dataclass(frozen=True)
class GoalChanged:
    """Plans are chosen for another goal from now on; its boundary is the old one's."""

    at_s: float
    goal: Goal


@dataclass(frozen=True)
class Ready:
    """A tier has prepared its segment of `plan`."""

    at_s: float
    plan: Plan
    tier: str


@dataclass(frozen=True)
class PrepareFailed:
    """A tier cannot prepare its segment of `plan`."""

    at_s: float
    plan: Plan
    tier: str


@dataclass(frozen=True)
class Tick:
    """Time has passed. About ten a second let probes and timeouts be on time."""

    at_s: float


Event = (
    Observed
    | Transferring
    | LinkProbed
    | TierMeasured
    | TierLoaded
    | LayerTimesMeasured
    | RowDropped
    | CodecsMeasured
    | TierLost
    | TierJoined
    | TierAdded
    | TierRemoved
    | GoalChanged
    | Ready
    | PrepareFailed
    | Tick
)

EVENTS = get_args(Event)


@dataclass(frozen=True)
class Prepare:
    """Have every tier of `plan` build and warm up its segment, and answer each with Ready."""

    plan: Plan


@dataclass(frozen=True)
class Activate:
    """Send new requests along `plan`. reason: for people."""

    plan: Plan
    reason: str


@dataclass(frozen=True)
class ProbeLink:
    """Time a payload of sent_bytes over one link, and a small message. The answer: LinkProbed."""

    source: str
    target: str
    sent_bytes: int


@dataclass(frozen=True)
class MeasureTier:
    """Time layers [start, stop) on a tier that has no request to show it. Answer: TierMeasured.

    In the runtime in which a plan would run them.
    """

    tier: str
    start: int
    stop: int
    runtime: str = TORCH


Action = Prepare | Activate | ProbeLink | MeasureTier
ACTIONS = get_args(Action)
