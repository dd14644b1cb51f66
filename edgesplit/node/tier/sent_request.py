"""A request that was sent on to the next tier: how it is doing, until it is answered."""

import math
from dataclasses import dataclass
from functools import cached_property

import msgspec

from edgesplit.core.hedge import HedgeRule, PayloadProgress, still_expected_s
from edgesplit.node.tier.hedge_run import HedgeRun
from edgesplit.node.tier.job import Done, Job
from edgesplit.node.tier.next_tier import NextTier
from edgesplit.node.tier.transmission import Transmission
from edgesplit.node.transport import wire
from edgesplit.node.transport.connection import Connection

LOOK_S = 0.05  # between two looks
TELL_S = 0.1  # between two words about it to whoever sent it here
_GRACE_S = 0.1  # per tier further on


@dataclass(eq=False)
class SentRequest:
    """Waits for its reply. link: that it left on; way: how much of it is still here.

    ahead: requests that waited for that tier already. hedge: the run of the rest on this tier, once
    that has begun. is_taken_back: nothing of it will come to the next tier, and that is all.
    """

    done: Done
    to: NextTier
    link: Connection
    sent_s: float
    sent_bytes: int
    ahead: int = 0
    way: Transmission | None = None
    hedge: HedgeRun | None = None
    is_taken_back: bool = False
    _arrived_s: float | None = None
    _hedged_s: float = 0.0
    _told_s: float = 0.0
    _heard: tuple[float, float] | None = None  # when a tier further on said what it expects

    def __post_init__(self) -> None:
        self._told_s = self.sent_s

    # Made with the first look: most requests are answered before that.

    @cached_property
    def _rule(self) -> HedgeRule | None:
        hedge = self.job.hop.hedge
        return None if hedge is None else HedgeRule(*msgspec.structs.astuple(hedge))

    @cached_property
    def _progress(self) -> PayloadProgress:
        return PayloadProgress(self.sent_bytes, self.sent_s)

    @property
    def job(self) -> Job:
        """The request, as it came here."""
        return self.done.job

    @property
    def limit_s(self) -> float:
        """When to refuse it: tiers further on do so first, since they know where it is stuck."""
        behind = len(self.job.request.route) - self.job.request.at - 2
        return self.job.deadline_s + behind * _GRACE_S

    @property
    def has_arrived(self) -> bool:
        """Whether the next tier has all of it."""
        return self._arrived_s is not None

    @property
    def is_moving(self) -> bool:
        """Whether some of it has left of late, and some has not."""
        return self._progress.is_moving and not self.is_taken_back

    def look(self, now_s: float) -> None:
        """See how much of it has left."""
        if self.way is None or self._arrived_s is not None or self.is_taken_back:
            return
        self._progress.look(now_s, self.way.left_bytes())
        if not self._progress.left_bytes:
            self._arrived_s = now_s

    def heard(self, progress: wire.TransferProgress, now_s: float) -> None:
        """A tier further on has said how it is doing: so the payload has arrived."""
        self._heard = now_s, progress.expected_s
        self._arrived_s = self._arrived_s or now_s

    @property
    def patience_s(self) -> float:
        """How long the next tier may give no sign of life, once it is late."""
        return math.inf if self._rule is None else self._rule.patience_s

    def is_late(self, now_s: float) -> bool:
        """Whether running the rest here is worth it now. Only once."""
        if self._rule is None or self.hedge is not None or self.job.is_stuck_here:
            return False
        sending_s, waiting_s = self._expected_s(now_s)
        return self._rule.is_due(now_s - self.sent_s, sending_s, waiting_s)

    def hedged(self, hedge: HedgeRun, now_s: float) -> None:
        """The rest is run here too, from now on."""
        self.hedge, self._hedged_s = hedge, now_s

    def drop_hedge(self) -> None:
        """A run of the rest here, if there is one, is of no use any more."""
        if self.hedge is not None:
            self.hedge.cancel()

    def words(self, now_s: float) -> wire.TransferProgress | None:
        """What to tell whoever sent it here; None: not yet, or nothing that is new to them."""
        is_news = self.hedge is not None or not self.has_arrived
        if now_s - self._told_s < TELL_S or not is_news:
            return None
        return self.last_words(now_s, is_over=False)

    def last_words(self, now_s: float, is_over: bool = True) -> wire.TransferProgress:
        """The same, whenever that was. is_over: no more of the payload is sent."""
        self._told_s = now_s
        moving_s = now_s - self._progress.began_s if is_over else self._progress.moving_s
        if self.is_taken_back and not is_over:
            moving_s = 0.0  # it was said how that went
        return wire.TransferProgress(
            id=self.job.request.id,
            source=self.job.hop.tier,
            target=self.to.tier,
            sent_bytes=self._progress.sent_bytes,
            moving_s=moving_s,
            expected_s=min(sum(self._expected_s(now_s)), wire.LONGEST_TIMEOUT_S),
            is_over=is_over,
        )

    def _expected_s(self, now_s: float) -> tuple[float, float]:
        """While the payload itself leaves, and before and after that until the answer."""
        leaving_s, waiting_s = self._progress.expected_s(), 0.0
        if self._rule is not None:
            waited_s = 0.0 if self._arrived_s is None else now_s - self._arrived_s
            waiting_s = self._rule.waiting_s(waited_s, self.ahead)
        # What is before it leaves anyway: giving up saves no joules of that.
        sending_s = leaving_s * self._progress.own_share
        waiting_s += leaving_s - sending_s
        further_on_s = still_expected_s(self._heard, now_s)
        if further_on_s is not None:
            sending_s, waiting_s = 0.0, further_on_s
        if self.hedge is not None and self._rule is not None:
            own_s = max(0.0, self._rule.rest_s - (now_s - self._hedged_s))
            return 0.0, min(sending_s + waiting_s, own_s)
        return sending_s, waiting_s
