"""What several sessions ask of one tier that they share: the load each sees, the price of it.

The tier says once a second how busy it was for whom. A session sees what others take, never its own
share, so that none flees from its own work; one that has a tier to itself sees what it always saw.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgesplit.core.fleet.demand import DemandPrice
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.given import is_finite
from edgesplit.errors import ProfileError

TARGET = (
    0.7  # of its time that a tier may compute: a request then waits 2.3 times as long as it runs
)
USES = 0.01  # a smaller share of a tier's time is a probe, not a user
# A price moves so little in a second that those who leave are seen to have left before it moves on.
_MOST_STEP = 0.05
_DEAREST = 1e3
_SPREAD = 0.7  # of the logarithm of a price between the first session to leave and the last


@dataclass(frozen=True)
class TierWord:
    """What a shared tier says of its last second.

    host: as what is not EdgeSplit loads it. busy: by session that may use the tier, the share of
        its time that it computed for it; 0 for one that does not use it.
    waited_s: by session, seconds per second that its requests waited; a sum over requests.

    Raises ProfileError for a share or a time that cannot be.
    """

    host: HostLoad = field(default_factory=HostLoad)
    busy: Mapping[str, float] = field(default_factory=dict)
    waited_s: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in (("busy", self.busy), ("waited_s", self.waited_s)):
            for session, value in values.items():
                if not (is_finite(value) and value >= 0):
                    raise ProfileError(
                        f"{name} of session {session!r}: a finite number >= 0, given {value!r}"
                    )

    @property
    def users(self) -> dict[str, float]:
        """The shares of the sessions that use the tier."""
        return {session: share for session, share in self.busy.items() if share > USES}

    def seen_by(self, session: str) -> HostLoad:
        """The host's word as that session should believe it: others' work is load, its own not."""
        others = {name: share for name, share in self.users.items() if name != session}
        if not others:
            return self.host
        share = sum(others.values())
        waiting = sum(self.waited_s.get(name, 0.0) for name in others) / share
        return replace(
            self.host,
            utilisation=min(1.0, (self.host.utilisation or 0.0) + share),
            waiting=max(self.host.waiting or 0.0, waiting),
        )


@dataclass(frozen=True)
class TierDemand:
    """The demand for one tier after its last word, and its price.

    left: by session that used the tier and does not now, the share that it took.

    Example:
        >>> crowded = TierWord(busy={"a": 0.5, "b": 0.5, "c": 0.0})
        >>> demand = TierDemand("edge").after(crowded)
        >>> demand.price_for("c") > 0.0 == TierDemand("edge").price_for("c")
        True
        >>> demand.seen_by("a").utilisation
        0.5
    """

    tier: str
    word: TierWord = field(default_factory=TierWord)
    price: DemandPrice = field(default_factory=lambda: DemandPrice(step=_MOST_STEP))
    left: Mapping[str, float] = field(default_factory=dict)

    def after(self, word: TierWord) -> "TierDemand":
        """The demand after one more word: about a second after the last.

        The price rises while two sessions or more ask for more than the target together. It falls
        where one of those that have left would fit, and stays where none would: if it fell, one
        would come back only to leave again.
        """
        users = word.users
        left = {name: share for name, share in self.left.items() if name in word.busy}
        left |= self.word.users
        left = {name: share for name, share in left.items() if name in word.busy.keys() - users}
        demand = sum(users.values())
        is_rising = demand > TARGET and len(users) > 1
        is_falling = demand + min(left.values(), default=0.0) <= TARGET
        price = self._moved(demand) if is_rising or is_falling else self.price
        return TierDemand(self.tier, word, price, left)

    def seen_by(self, session: str) -> HostLoad:
        """As TierWord.seen_by, of the last word."""
        return self.word.seen_by(session)

    def price_for(self, session: str) -> float:
        """What that session plans with, as a pressure of load; 0 where no other uses the tier.

        Sessions see somewhat different prices, or equal ones would all leave at the same.
        """
        if not self.price.value or not self.word.users.keys() - {session}:
            return 0.0
        place = zlib.crc32(f"{self.tier} {session}".encode()) / 2**32
        return self.price.value * math.exp(_SPREAD * (place - 0.5))

    def _moved(self, demand: float) -> DemandPrice:
        price = self.price.after(demand / TARGET)
        return replace(price, value=min(_DEAREST, price.value), step=min(_MOST_STEP, price.step))
