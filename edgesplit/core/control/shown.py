"""What whole ranges of layers took, where that is not the sum of their layers.

Layers are timed one after another. A range in one piece may take less (caches; it fits into one
period of a CPU quota) or more. Taken for a change of the tier's speed, that makes every other
range's prediction wrong, and two plans take over from each other for ever. So, when a range runs
again that disagrees with the speed that another one showed, and disagreed as much the last time, it
is the ranges that differ, not the speed.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgesplit.core.changed import changed
from edgesplit.core.plan import Stage
from edgesplit.core.tier import Tier

_SETTLED = 4  # requests of one range in a row: the tier's speed is what that range shows
_AGAIN = 3  # requests that must repeat what a range took before
_ALIKE = math.log(1.15)  # between two measurements of the same
_MOST_RANGES = 6
_LEAST_SHARE = 0.1  # of a layer's own time that is left of it


@dataclass(frozen=True)
class RangeTime:
    """The layers of a stage took so many seconds."""

    stage: Stage
    seconds: float


@dataclass(frozen=True)
class Shown:
    """Of one tier. took: its last ranges, the last time that requests settled on each of them.

    current, recent, count: the range of the last requests, what the last few of them took, and how
    many they were. again: how many of these took what they took before, not what is expected now.
    ranges: what some take at the tier's speed as profiled. layer_s: by runtime, layer times that
    agree with those; as profiled where it is missing.
    """

    took: tuple[RangeTime, ...] = ()
    current: Stage | None = None
    recent: tuple[float, ...] = ()
    count: int = 0
    again: int = 0
    ranges: tuple[RangeTime, ...] = ()
    layer_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def times(self, tier: Tier, runtime: str) -> tuple[float, ...]:
        """Layer times in that runtime, as profiled or as shown since."""
        return self.layer_s.get(runtime) or tier.layer_s_in(runtime)

    def applied(self, tier: Tier) -> Tier:
        """The tier with the layer times that agree with what was shown."""
        for runtime, layer_s in self.layer_s.items():
            if runtime in tier.runtimes:
                tier = tier.with_layer_times(replace(tier.times_in(runtime), layer_s=layer_s))
        return tier

    def ran(self, stage: Stage, expected_s: float, seconds: float) -> "Shown":
        """One more request ran a range, which was expected to take expected_s."""
        shown = self if stage == self.current else self._on_another(stage)
        repeats = shown.count == shown.again and shown._disagrees(stage, expected_s, seconds)
        recent = (*shown.recent, seconds)[-_SETTLED:]
        again = shown.again + repeats
        return changed(shown, recent=recent, count=shown.count + 1, again=again)

    def _disagrees(self, stage: Stage, expected_s: float, seconds: float) -> bool:
        """Whether these seconds are those of the last time, and not those expected now."""
        before_s = next((one.seconds for one in self.took[:-1] if one.stage == stage), None)
        if before_s is None:
            return False
        return _are_alike(seconds, before_s) and not _are_alike(expected_s, before_s)

    @property
    def is_settled(self) -> bool:
        """Whether requests have run the same range for a while."""
        return self.count > _SETTLED

    @property
    def is_repeating(self) -> bool:
        """Whether all requests of this range so far repeat the last time; perhaps not enough."""
        return 0 < self.count == self.again <= _AGAIN

    @property
    def is_confirmed(self) -> bool:
        """Whether it is certain that the ranges differ, and not the speed."""
        return self.count == self.again == _AGAIN

    def told_apart(self, tier: Tier) -> tuple["Shown", float]:
        """This range and the one before told apart, and the tier's speed meanwhile.

        Of the two speeds that they showed, it is the one nearer to the profiled speed.
        """
        pair = [one for one in self.took if one.stage == self.current] + [self.took[-1]]
        speeds = [one.seconds / self._profiled_s(tier, one.stage) for one in pair]
        speed = min(speeds, key=lambda one: abs(math.log(one)))
        shown = replace(self, again=0)
        for one in pair:
            shown = shown._with_range(tier, RangeTime(one.stage, one.seconds / speed))
        return shown, speed

    def without(self, runtime: str) -> "Shown":
        """Nothing is known of that runtime any more."""
        layer_s = {name: row for name, row in self.layer_s.items() if name != runtime}
        ranges = tuple(one for one in self.ranges if one.stage.runtime != runtime)
        return Shown(ranges=ranges, layer_s=layer_s)

    def _on_another(self, stage: Stage) -> "Shown":
        took = self.took
        if self.current is not None and self.count >= _SETTLED:
            others = (one for one in took if one.stage != self.current)
            settled = RangeTime(self.current, statistics.median(self.recent))
            took = (*others, settled)[-_MOST_RANGES:]
        return replace(self, took=took, current=stage, recent=(), count=0, again=0)

    def _with_range(self, tier: Tier, range_time: RangeTime) -> "Shown":
        runtime = range_time.stage.runtime
        others = (one for one in self.ranges if one.stage != range_time.stage)
        ranges = (*others, range_time)[-_MOST_RANGES:]
        same = [one for one in ranges if one.stage.runtime == runtime]
        row = fitted(tier.layer_s_in(runtime), same)
        return replace(self, ranges=ranges, layer_s={**self.layer_s, runtime: row})

    def _profiled_s(self, tier: Tier, stage: Stage) -> float:
        return sum(self.times(tier, stage.runtime)[stage.start : stage.stop])


def fitted(layer_s: Sequence[float], ranges: Sequence[RangeTime]) -> tuple[float, ...]:
    """The layer times nearest to `layer_s` whose sums over those ranges are as shown.

    Nearest by the sum of (change)^2 / time, so that a long layer takes more of a difference. Ranges
    that contradict each other are met as well as they can be.
    """
    old = np.asarray(layer_s, dtype=float)
    inside = np.zeros((len(ranges), len(old)))
    for row, shown in zip(inside, ranges, strict=True):
        row[shown.stage.start : shown.stage.stop] = 1.0
    missing = np.array([shown.seconds for shown in ranges]) - inside @ old
    weighed = inside * old
    change = weighed.T @ np.linalg.pinv(weighed @ inside.T, rcond=1e-9) @ missing
    return tuple(np.maximum(old + change, _LEAST_SHARE * old).tolist())


def _are_alike(one_s: float, other_s: float) -> bool:
    return abs(math.log(one_s / other_s)) < _ALIKE
