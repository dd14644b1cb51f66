"""Measures each tier's watts per phase: blocks of one activity each, in turns, fitted together.

The tiers keep still while one of them is measured; the end of a link that is not measured helps.
"""

import datetime
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgesplit.cluster.measure.meters import TierMeters
from edgesplit.core.energy.metering import Metering
from edgesplit.core.energy.phases import Block, fit_phases
from edgesplit.core.energy.window import Metered
from edgesplit.core.given import is_finite, number_above_0, whole_from_1
from edgesplit.core.power import PHASES
from edgesplit.core.profile import Profile
from edgesplit.errors import ConfigError, EdgeSplitError, MeterError
from edgesplit.node.meter.calibration import Calibration
from edgesplit.node.tier.exercise import Activity
from edgesplit.node.transport.wire import LONGEST_TIMEOUT_S

# The receiving block is the peer's transmitting one, seen from here.
_KINDS = ("idle", "compute", "transmit", "receive", "wait")
_MOST_ROUNDS = 1000


@dataclass(frozen=True)
class Blocks:
    """How long each block lasts, how often each is run, and how long before it is not counted.

    settle_s: for a sensor that averages, and for what the block before has left behind.
    """

    seconds: float = 5.0
    rounds: int = 3
    settle_s: float = 1.0

    def __post_init__(self) -> None:
        number_above_0("seconds", self.seconds, ConfigError, LONGEST_TIMEOUT_S)
        whole_from_1("rounds", self.rounds, ConfigError, _MOST_ROUNDS)
        if not (is_finite(self.settle_s) and self.settle_s >= 0):
            raise ConfigError(f"settle_s must be seconds of 0 or more, given {self.settle_s!r}")

    @property
    def total_s(self) -> float:
        """What one tier takes, about."""
        return self.rounds * len(_KINDS) * (self.seconds + self.settle_s)


@dataclass(frozen=True)
class Calibrated:
    """One tier: the calibration and where its host keeps it, or why there is none."""

    tier: str
    calibration: Calibration | None = None
    file: str = ""
    problem: str = ""


def calibrate(
    meters: TierMeters,
    workload: tuple[str, Profile],
    blocks: Blocks,
    progress: Callable[[str], None],
) -> Iterator[Calibrated]:
    """Calibrate every tier that has a meter, one after another.

    workload: the id of what is computed, and its profile, for which tier reaches which.
    progress(text) is called before each block.
    """
    workload_id, profile = workload
    for tier in profile.names:
        metering = meters.opened[tier].metering
        problem = _hindrance(tier, metering)
        if problem:
            yield Calibrated(tier, problem=problem)
            continue
        try:
            meters.check_place(tier)  # before minutes of measuring
            work = _Spender(meters, tier, _peer(profile, tier), workload_id)
            measured, scope = _measured(work, blocks, progress)
            calibration = _fitted(measured, metering, scope)
            yield Calibrated(tier, calibration, meters.keep(tier, calibration))
        except EdgeSplitError as error:  # the other tiers are calibrated all the same
            yield Calibrated(tier, problem=str(error))


def _hindrance(tier: str, metering: Metering) -> str:
    """Why the tier cannot be calibrated; empty if it can."""
    if not metering.name:
        return f"{tier} has no meter; `edgesplit meters` there says why"
    unusable = (flag for flag in metering.flags if flag.startswith("not calibrated: the calib"))
    return next(unusable, "")  # its file could not be written to in the end


def _peer(profile: Profile, tier: str) -> str:
    for link in profile.links:
        if link.source == tier:
            return link.target
    raise MeterError(
        f"no other tier is reached from {tier!r}, so sending cannot be measured",
        "`edgesplit status` shows the links",
    )


def _measured(
    work: "_Spender", blocks: Blocks, progress: Callable[[str], None]
) -> tuple[list[Block], str]:
    """Every block, forwards and backwards by turns, and the scope of their joules."""
    measured: list[Block] = []
    scope = ""
    for turn in range(blocks.rounds):
        for kind in _KINDS if turn % 2 == 0 else _KINDS[::-1]:
            progress(f"{work.tier}: {kind}, round {turn + 1} of {blocks.rounds}")
            work.run(kind, blocks.settle_s)
            block, scope = work.measure(kind, blocks.seconds)
            measured.append(block)
    return measured, scope


def _fitted(measured: Sequence[Block], metering: Metering, scope: str) -> Calibration:
    gain = metering.rel_accuracy
    is_known = not math.isnan(gain)
    fitted = fit_phases(measured, PHASES, gain if is_known else 0.0)
    return Calibration(
        meter=metering.name,
        scope=scope,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        watts=tuple(float(w) for w in fitted.watts),
        covariance=tuple(tuple(float(v) for v in row) for row in fitted.covariance),
        blocks=len(measured),
        is_accuracy_known=is_known,
    )


@dataclass(frozen=True)
class _Spender:
    """Blocks on one tier, with `peer` at the other end of its link."""

    meters: TierMeters
    tier: str
    peer: str
    workload_id: str

    def run(self, kind: str, seconds: float) -> Mapping[str, float]:
        """Keep the tier in that phase; its seconds per phase."""
        match kind:
            case "receive":
                sent = self._spend(self.peer, "transmit", seconds, self.tier)
                return {"receive": sent["transmit"], "wait": sent["wait"]}
            case "transmit":
                return self._spend(self.tier, "transmit", seconds, self.peer)
            case "compute" | "wait" | "idle":
                return self._spend(self.tier, kind, seconds, self.tier)
        raise AssertionError(kind)

    def measure(self, kind: str, seconds: float) -> tuple[Block, str]:
        """A block and the scope of its joules. What the calls around it took is waiting."""
        marks = self.meters.marks()
        spent = dict(self.run(kind, seconds))
        said = self.since(marks)
        rest = "idle" if kind == "idle" else "wait"
        spent[rest] = spent.get(rest, 0.0) + max(0.0, said.seconds - sum(spent.values()))
        return Block(spent, said.energy.joules, said.energy.u_j), said.energy.scope

    def since(self, marks: Mapping[str, float]) -> Metered:
        """What the tier's meter said. Raises MeterError where it has none."""
        found = self.meters.since({self.tier: marks[self.tier]})[self.tier]
        if isinstance(found, MeterError):
            raise found
        return found

    def _spend(self, tier: str, what: Activity, seconds: float, to: str) -> dict[str, float]:
        return self.meters.spend(tier, what, seconds, (self.workload_id, to))
