"""Whether a tier can be relied on: requests that fail over from it put it in doubt, or it is lost.

A tier in doubt is left out of plans as a lost one is, and probed until it has answered steadily for
a while. The while doubles each time the tier fails again soon after it was taken back, so that a
link that comes and goes does not make the plan come and go.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edgesplit.core.changed import changed
from edgesplit.core.tier_timing import TierTiming

STRIKES = 2  # in a row: one silence may be a hiccup
STRIKE_S = 10.0  # further apart, two silences are two hiccups
STEADY_ANSWERS = 3
APART_S = 0.45  # probes are asked every half second; answers closer together show nothing new
STEADY_S = 1.0  # of answers, the first time
LONGEST_STEADY_S = 60.0
GAP_S = 4.0  # two probe timeouts: an answer missing for so long ends the steady row
RELAPSE_S = 60.0  # failed again within so long of being taken back, or of twice the steady time
AT_ONCE = "unreachable"
IN_A_ROW = ("silent", "unknown")


@dataclass(frozen=True)
class Trust:
    """What is held of one tier.

    strikes, struck_s: requests in a row that failed over from it, and when the last one came back.
    asked_by: the tier that failed over and should ask it; empty while it is trusted.
    answers, since_s, answered_s: of the steady series of probes: how many, when it began, the last.
    steady_s: for how long answers must come. back_s: when it was taken back last.
    """

    strikes: int = 0
    struck_s: float = float("-inf")
    asked_by: str = ""
    answers: int = 0
    since_s: float = 0.0
    answered_s: float = float("-inf")
    steady_s: float = STEADY_S
    back_s: float = float("-inf")

    @property
    def in_doubt(self) -> bool:
        """Whether plans are to leave the tier out."""
        return bool(self.asked_by)

    def failed(self, asked_by: str, at_s: float) -> "Trust":
        """In doubt from now on, for longer than the last time where that was a moment ago."""
        if self.in_doubt:
            return changed(self, answers=0, struck_s=at_s)
        return changed(
            self, strikes=0, struck_s=at_s, asked_by=asked_by, answers=0, steady_s=self._next(at_s)
        )

    def struck(self, asked_by: str, reason: str, at_s: float) -> "Trust":
        """A request has failed over from the tier, for that reason."""
        if reason == AT_ONCE or self.in_doubt:
            return self.failed(asked_by, at_s)
        if reason not in IN_A_ROW:
            return self
        strikes = self.strikes + 1 if at_s - self.struck_s <= STRIKE_S else 1
        if strikes >= STRIKES:
            return self.failed(asked_by, at_s)
        return changed(self, strikes=strikes, struck_s=at_s)

    def answered(self, at_s: float) -> "Trust":
        """A probe was answered: one more of the steady series, perhaps the last that it takes."""
        if not self.in_doubt:
            return self
        if not self.answers or at_s - self.answered_s > GAP_S:
            return changed(self, answers=1, since_s=at_s, answered_s=at_s)
        if at_s - self.answered_s < APART_S:
            return self
        now = changed(self, answers=self.answers + 1, answered_s=at_s)
        if now.answers >= STEADY_ANSWERS and at_s - now.since_s >= self.steady_s - APART_S / 2:
            return changed(now, asked_by="", back_s=at_s)
        return now

    def served(self) -> "Trust":
        """A request has been served by the tier."""
        return changed(self, strikes=0) if self.strikes else self

    def joined(self, at_s: float) -> "Trust":
        """Its process is back: taken at its word the first time, on trial after a relapse."""
        if self.steady_s <= STEADY_S:
            return changed(self, asked_by="", strikes=0, back_s=at_s)
        return changed(self, answers=0)

    def _next(self, at_s: float) -> float:
        """Doubled after a relapse; halved for every long time that it was trusted before."""
        trusted_s = at_s - self.back_s
        if trusted_s < max(RELAPSE_S, 2 * self.steady_s):
            return min(LONGEST_STEADY_S, 2 * self.steady_s)
        halvings = int(min(10.0, trusted_s / RELAPSE_S))
        return float(max(STEADY_S, self.steady_s / 2**halvings))


TRUSTED = Trust()
Trusts = Mapping[str, Trust]


def after_request(trusts: Trusts, timings: tuple[TierTiming, ...], at_s: float) -> Trusts:
    """What one request's timings say of the tiers that served it, and of one that did not."""
    changed = dict(trusts)
    for timing in timings:
        if timing.tier in changed:
            changed[timing.tier] = changed[timing.tier].served()
        if timing.given_up is not None:
            tier, reason = timing.given_up
            changed[tier] = changed.get(tier, TRUSTED).struck(timing.tier, reason, at_s)
    return changed


def after_probe(trusts: Trusts, tier: str, at_s: float) -> Trusts:
    """The same with an answer of that tier."""
    return {**trusts, tier: trusts[tier].answered(at_s)} if tier in trusts else trusts


def doubted(trusts: Trusts) -> frozenset[str]:
    """The tiers in doubt."""
    return frozenset(tier for tier, trust in trusts.items() if trust.in_doubt)
