"""The state of the control loop and its settings: values, and the profile they stand for."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from edgesplit.core.control.arrivals import Arrivals
from edgesplit.core.control.belief import Beliefs, Pair
from edgesplit.core.control.believed_profile import apply, with_scatter
from edgesplit.core.control.event import MeasureTier, ProbeLink
from edgesplit.core.control.trust import Trusts, doubted
from edgesplit.core.cost import Cost
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.errors import ConfigError

Chooser = Callable[[Graph, Profile, Goal], Plan]
Ask = ProbeLink | MeasureTier
ProbeKey = str | Pair
# What may be better than believed: figures not measured of late, figures of what no request uses.
Hope = Literal["stale", "unused"]


@dataclass(frozen=True)
class Settings:
    """When to decide again, when to switch, how much to ask.

    interval_s: between two evaluations while nothing has changed; the source paper takes 60.
    min_gain: relative gain in score below which a plan is kept; also the headroom below the
        latency limit that a plan needs to be entered for its score.
    switch_cost_s, expected_stay_s: a switch must earn more than it costs while it lasts.
    prepare_timeout_s: until every tier must have said ready. retry_s: before a plan that could
        not be prepared is tried again.
    probe_interval_s: between two asks about one link or tier. patrol_s: the same where only a
        figure better than any known would help. probe_timeout_s: until an answer is given up.
    probe_share: of the time, how much the probes of one link or tier may take.
    probe_longest_s: what one probe may take at the rate believed.
    idle_s: without requests for so long, nothing is asked.
    load_settle_s: time constant with which what hosts say of their load is believed. Sessions have
        different ones, so that they do not all leave a loaded tier at once.
    """

    interval_s: float = 1.0
    min_gain: float = 0.05
    switch_cost_s: float = 0.2
    expected_stay_s: float = 30.0
    prepare_timeout_s: float = 10.0
    retry_s: float = 10.0
    probe_interval_s: float = 0.5
    patrol_s: float = 10.0
    probe_timeout_s: float = 2.0
    probe_share: float = 0.05
    probe_longest_s: float = 0.1
    idle_s: float = 10.0
    load_settle_s: float = 10.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{item.name} must be a finite number >= 0, given {value!r}")


@dataclass(frozen=True)
class Pending:
    """A plan being prepared, the tiers still to say ready, since when, and why."""

    plan: Plan
    waiting: frozenset[str]
    since_s: float
    reason: str


@dataclass(frozen=True)
class Refused:
    """A plan that could not be prepared, and until when it is not tried again."""

    plan: Plan
    until_s: float


@dataclass(frozen=True)
class Asking:
    """What has been asked about one tier or link.

    asked_s: when. expected_s: what the answer should take.
    credit_s: seconds that probes may still take; grows with time, may be overdrawn by one answer.
    """

    asked_s: float
    is_waiting: bool
    expected_s: float
    credit_s: float
    credited_s: float


@dataclass(frozen=True)
class RepeatedProbe:
    """An ask worth repeating every so many seconds while the active plan stands.

    repaid_s: for how long the better plan that it may show must last to repay its joules.
    """

    ask: Ask
    every_s: float
    repaid_s: float = 0.0


@dataclass(frozen=True)
class Basis:
    """What the last chosen plan was chosen for, to say later what has changed."""

    goal: Goal
    profile: Profile
    away: frozenset[str]
    is_crowded: bool = False


@dataclass(frozen=True)
class Calm:
    """What the last whole evaluation found, where no plan was worth a switch (calm.py).

    best, current: least score of all plans, and that of the plan in force; limited_s: its seconds.
    tiers: by name the logarithm of the slowdown, the price, and the whole model's seconds over the
    score reference's. links: logarithms of rate and latency. stale: links of the plan in force that
    its requests had not shown of late.
    """

    at_s: float
    best: float
    current: float
    limited_s: float
    tiers: Mapping[str, tuple[float, float, float]]
    links: Mapping[Pair, tuple[float, float]]
    stale: frozenset[Pair]


@dataclass(frozen=True)
class ControlState:
    """All that the control loop knows. Only `begin` and `step` make one.

    profile: as calibrated, the score reference fixed. active: None until the first plan is ready.
    now_s, decided_s, requested_s: time of the last event, evaluation and request.
    request_gap_s: between the last two requests' ends, infinite before the second.
    is_due: a decision waits for a doubt to be cleared. asked_s: total seconds probes have taken.
    weighed: the active plan's cost at the last evaluation, None where it could not run. hopes: yet
    to be looked into since then.
    lost: tiers whose process is gone. trusts: of tiers that have failed before. removed: tiers that
    are no candidates any more, since when, until they are forgotten (tiers.py). calm: what spares
    evaluations.
    """

    graph: Graph
    profile: Profile
    goal: Goal
    policy: Chooser
    settings: Settings
    beliefs: Beliefs
    basis: Basis
    now_s: float
    decided_s: float
    requested_s: float
    request_gap_s: float = math.inf
    active: Plan | None = None
    pending: Pending | None = None
    refused: Refused | None = None
    lost: frozenset[str] = frozenset()
    asking: Mapping[ProbeKey, Asking] = field(default_factory=dict)
    repeated: tuple[RepeatedProbe, ...] = ()
    hopes: tuple[Hope, ...] = ()
    weighed: Cost | None = None
    is_due: bool = False
    asked_s: float = 0.0
    trusts: Trusts = field(default_factory=dict)
    removed: Mapping[str, float] = field(default_factory=dict)
    calm: Calm | None = None
    arrivals: Arrivals = field(default_factory=Arrivals)

    @property
    def away(self) -> frozenset[str]:
        """Tiers that no plan may use: lost, in doubt or removed. The first tier always stays."""
        away = self.lost | doubted(self.trusts) | self.removed.keys()
        return away - {self.profile.entry_tier}


def current_profile(state: ControlState) -> Profile:
    """The profile with every estimate applied; lost tiers keep their links here.

    How the figures scatter is only in it where the goal asks for it.
    """
    now = apply(state.profile, state.beliefs)
    return now if state.goal.probability is None else with_scatter(now, state.beliefs)
