"""When a sender runs the rest of a request itself while the next tier may still answer.

A failover timeout finds what is lost; a hedge bounds what is late. The sender compares the answer
that it expects with its own, which costs joules: they are seconds too, at the rate of the score.
docs/reliability.md gives the rule.
"""

import collections
import math
from dataclasses import dataclass, field

import numpy as np

from edgesplit.core.cost import CostModel, PlannedHop, Terms
from edgesplit.core.failover import rest_s, stage_s
from edgesplit.core.plan import Plan
from edgesplit.errors import PlanError

LEAST_S = 0.1  # after it was sent: what comes sooner is no tail, and shows no rate yet
OVERDUE_LEAST_S = 0.25  # what a busy machine may take longer, and nothing is wrong
_MARGIN_S, _MARGIN_FACTOR = 0.05, 1.25  # an own run that takes longer than predicted must not lose
_PATIENCE_S = 1.0  # a process that lives may be held up for so long on a busy machine
_FRESH_S = 0.3  # so old may be what a tier further on expects
_RECENT_S = 0.5  # of a payload's progress: its rate of late
_STANDING_FACTOR = 3.0  # what stands still may do so for so many times as long again: links fade
_PACKET_BYTES = 1500  # of what is smaller nothing is seen until all of it is there
WINDOW = 400  # requests, over which duplicates are counted: a fade makes many late in a row
LONGEST_S = 1e6  # that a price may be: some eleven days


@dataclass(frozen=True)
class HedgeRule:
    """Of one sender of a plan. In seconds.

    rest_s: what it takes itself for all remaining layers. answer_s: from the payload's arrival at
    the next tier to the answer's arrival here, as predicted. price_s: how much sooner its own
    answer has to be to be worth its joules. sending: what a second of sending counts for, with the
    joules that giving up saves; at least 1. limit_s: what is left of the latency limit when the
    payload leaves, as predicted; 0: there is none.
    """

    rest_s: float
    answer_s: float
    price_s: float
    sending: float = 1.0
    limit_s: float = 0.0

    def is_due(self, elapsed_s: float, sending_s: float, waiting_s: float) -> bool:
        """Whether to begin now, `elapsed_s` after the payload began to leave.

        sending_s: until all of it has left; waiting_s: from then on until the answer; as expected.
        """
        if elapsed_s < LEAST_S:
            return False
        own_s, expected_s = _MARGIN_FACTOR * self.rest_s + _MARGIN_S, sending_s + waiting_s
        if expected_s <= own_s:
            return False
        if expected_s + (self.sending - 1.0) * sending_s > own_s + self.price_s:
            return True
        # A limit comes before the score.
        return elapsed_s + own_s < self.limit_s < elapsed_s + expected_s

    @property
    def patience_s(self) -> float:
        """How long the next tier, once it is late, may give no sign of life.

        Hedges are few, and a tier that hangs makes every request late.
        """
        return max(_PATIENCE_S, 2 * self.answer_s)

    def waiting_s(self, waited_s: float, ahead: int = 0) -> float:
        """Until the answer, `waited_s` after the payload has arrived.

        ahead: requests of this sender that waited there already, each of which may take as long.
        What is overdue takes as long again: who waits as long as an own run would take, and then
        begins one, takes at most twice as long as who knew.
        """
        answer_s = self.answer_s * (1 + ahead)
        overdue_s = waited_s - answer_s
        if overdue_s < max(answer_s, OVERDUE_LEAST_S):
            return max(0.0, -overdue_s)  # a prediction may be wrong by half
        return overdue_s

    def overdue_s(self, ahead: int = 0) -> float:
        """How long after its arrival a payload may first count as overdue."""
        answer_s = self.answer_s * (1 + ahead)
        return answer_s + max(answer_s, OVERDUE_LEAST_S)


def still_expected_s(said: tuple[float, float] | None, now_s: float) -> float | None:
    """What is left of the seconds until an answer that a tier further on has expected.

    said: when it said so, and how many. None: nothing, or so long ago that it counts no more.
    """
    if said is None or now_s - said[0] >= _FRESH_S:
        return None
    return max(0.0, said[1] - (now_s - said[0]))


@dataclass
class PayloadProgress:
    """How a payload leaves: looks at what is left of it, and what they say of the rest.

    n_bytes: of all of it, and of what was before it on its link.
    """

    n_bytes: int
    began_s: float
    left_bytes: int = -1
    _own_bytes: int = 0
    _looks: collections.deque[tuple[float, int]] = field(default_factory=collections.deque)
    _moved_s: float = 0.0  # when it was last seen to move
    _pause_s: float = 0.0  # the longest so far that has ended

    def __post_init__(self) -> None:
        self.left_bytes = self._own_bytes = self.n_bytes
        self._moved_s = self.began_s
        self._looks.append((self.began_s, self.n_bytes))

    @property
    def moving_s(self) -> float:
        """Seconds that `sent_bytes` took: until it moved last, without the longest pause.

        A single pause says nothing of the rate. Many of them are a link of a few packets a second.
        """
        return self._moved_s - self.began_s - self._pause_s

    @property
    def sent_bytes(self) -> int:
        """What has left so far."""
        return self.n_bytes - self.left_bytes

    @property
    def own_share(self) -> float:
        """Of what is left, the share that is the payload's own: the rest is before it."""
        return min(1.0, self._own_bytes / self.left_bytes) if self.left_bytes else 1.0

    @property
    def is_moving(self) -> bool:
        """Whether some of it has left of late, and some has not."""
        return 0 < self.left_bytes < self._looks[0][1]

    def look(self, now_s: float, left_bytes: int) -> None:
        """One more look; times never run back."""
        if len(self._looks) == 1 and left_bytes > self.n_bytes:
            # What has left before this look is not known, so nor is its rate.
            self.n_bytes = self.left_bytes = left_bytes
            self.began_s = self._moved_s = now_s
            self._looks[0] = now_s, left_bytes
        last_s, last_bytes = self._looks[-1]
        self.left_bytes = min(last_bytes, max(0, left_bytes))
        if self.left_bytes < last_bytes:
            self._pause_s = max(self._pause_s, last_s - self._moved_s)
            self._moved_s = now_s
        self._looks.append((now_s, self.left_bytes))
        while len(self._looks) > 2 and self._looks[1][0] <= now_s - _RECENT_S:
            self._looks.popleft()

    def expected_s(self) -> float:
        """Until all of it has left, at the slower of its rate of late and that of all the time.

        What stands still, for longer than before, is expected to do so for three times as long.
        """
        if not self.left_bytes:
            return 0.0
        (since_s, then_bytes), (now_s, _) = self._looks[0], self._looks[-1]
        standing_s, recent_bytes = now_s - self._moved_s, then_bytes - self.left_bytes
        expected_s = 0.0
        if standing_s >= max(LEAST_S, self._pause_s) or not recent_bytes:
            is_seen = self.n_bytes > _PACKET_BYTES
            expected_s = (_STANDING_FACTOR if is_seen else 1.0) * standing_s
        if self.sent_bytes:
            whole_s = (now_s - self.began_s) * self.left_bytes / self.sent_bytes
            expected_s = max(expected_s, whole_s)
        if recent_bytes:
            expected_s = max(expected_s, (now_s - since_s) * self.left_bytes / recent_bytes)
        return expected_s


class HedgeBudget:
    """Bounds duplicates: at most `share` of any WINDOW requests in a row are run twice."""

    def __init__(self, share: float) -> None:
        self._most = math.floor(share * WINDOW + 1e-9)
        self._count = 0
        self._taken = collections.deque[int]()  # their numbers

    def count(self) -> None:
        """One more request, whether or not any of it is sent on."""
        self._count += 1

    def take(self) -> bool:
        """Whether one more may be run twice, which it then is."""
        while self._taken and self._taken[0] <= self._count - WINDOW:
            self._taken.popleft()
        if len(self._taken) >= self._most:
            return False
        self._taken.append(self._count)
        return True


def hedge_rules(model: CostModel, plan: Plan) -> tuple[HedgeRule | None, ...]:
    """Per sender: the caller's for the first tier, then each tier's for the next.

    As many as the plan has stages. None: neither time nor a limit is worth joules to the goal, or a
    link is not known, or a codec is not usable any more. The caller is taken to be as fast as the
    first tier, on whose host it is.
    """
    return tuple(_rule(model, plan, at) for at in range(len(plan.stages)))


def _rule(model: CostModel, plan: Plan, at: int) -> HedgeRule | None:
    """Of whoever sends to the stage `at`."""
    names = model.profile.names
    route = [names.index(tier) for tier in plan.route]
    hops = [_hop(model, plan, k) for k in range(len(route) - 1)]
    hop_s = [hop.sums[0] if hop else math.inf for hop in hops]
    stages_s = [stage_s(model, stage) for stage in plan.stages]
    opener, opening_s = model.opening(plan)
    if len(plan.stages[opener]):  # else it is of the hop
        stages_s[opener] += opening_s
    sender, start = (route[at - 1], plan.stages[at - 1].stop) if at else (route[0], 0)
    own_s = rest_s(model.profile.tiers[sender], start)
    answer_s = sum(stages_s[at:]) + sum(hop_s[at:])
    tx_w, begun_s = 0.0, 0.0
    if at:
        link = model.profile.link(names[route[at - 1]], names[route[at]])
        hop = hops[at - 1]
        encode_s, n_bytes = (hop.encode_s, hop.sent_bytes) if hop else (0.0, 0.0)
        sending_s = n_bytes / link.bytes_per_s if link else 0.0
        answer_s += hop_s[at - 1] - encode_s - sending_s
        tx_w = _transmit_w(model, sender)
        begun_s = sum(stages_s[:at]) + sum(hop_s[: at - 1]) + encode_s
    per_s = _score_of(model, 1.0, (0.0, 0.0))
    seconds = np.zeros((len(names), 1))
    seconds[sender] = own_s
    spent = model.computing(seconds)
    price = _score_of(model, 0.0, (float(spent.end_j[sender, 0]), float(spent.total_j[sender, 0])))
    sending = _score_of(model, 0.0, (tx_w if sender == 0 else 0.0, tx_w))
    limit_s = max(0.0, (model.goal.latency_limit_s or 0.0) - begun_s)
    if not math.isfinite(answer_s) or not (per_s or limit_s):
        return None
    price_s = min(price / per_s, LONGEST_S) if per_s else LONGEST_S
    worth = 1.0 + min(sending / per_s, LONGEST_S) if per_s else 1.0
    return HedgeRule(own_s, answer_s, price_s, worth, limit_s)


def _hop(model: CostModel, plan: Plan, at: int) -> PlannedHop | None:
    """None where no link is known, or a codec is not usable any more."""
    try:
        return model.hop(plan, at)
    except PlanError:
        return None


def _score_of(model: CostModel, seconds: float, joules: tuple[float, float]) -> float:
    """What those seconds and joules (the end tier's, all tiers') add to a score."""
    end_j, total_j = (np.array(j) for j in joules)
    return float(model.score(Terms(np.array(seconds), end_j, total_j)))


def _transmit_w(model: CostModel, tier: int) -> float:
    power = model.profile.tiers[tier].power
    is_gross = model.goal.boundary == "gross"
    gross_w = max(0.0, power.transmit_w - power.wait_w)
    return gross_w if is_gross else power.above_idle_w("transmit")
