"""EdgeSplit as it is: the product's control loop hears of requests, probes, and switches plans.

The loop is core/control/step with its default settings; what is modelled is when it hears of things
and what its probes take: they queue on links and tiers as requests do, and their joules count.
"""

from collections.abc import Callable
from functools import partial

from edgesplit.core.control.due import next_due_s
from edgesplit.core.control.event import (
    Action,
    Event,
    MeasureTier,
    Observed,
    Prepare,
    ProbeLink,
    Ready,
    Tick,
    TierLoaded,
    Transferring,
)
from edgesplit.core.control.state import ControlState, Settings
from edgesplit.core.control.step import begin, step
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.fleet.tier_demand import TierDemand, TierWord
from edgesplit.core.plan import Plan
from edgesplit.core.policies.policy import score
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming
from experiments.head_to_head.asks import Asks
from experiments.head_to_head.simulation import OTHERS, OWN, Simulation
from experiments.head_to_head.station import Station

PREPARE_S = 0.2  # until a tier has built and warmed up its segment
HEARS_S = 0.05  # how often the caller tells the scheduler (cluster/session/watch.py)
TICK_S = 0.1  # between two looks whether anything is due (cluster/actors/scheduler.py)
WORD_S = 1.0  # between two words of a tier's host


class ControlLoop:
    """Drives the product's loop. hedge: the largest share of requests that may be run twice.

    timer: of a clock that measures its decisions; took_s: by that clock, before each request.
    begins_with: what it believes at first; None: what is true then.
    """

    has_looks = True

    def __init__(
        self,
        hedge: float,
        timer: Callable[[], float] = lambda: 0.0,
        begins_with: Profile | None = None,
    ) -> None:
        self.hedge, self._timer, self._begins_with = hedge, timer, begins_with
        self.took_s = [0.0]
        self._ticks_s, self._ticked_s = float("inf"), 0.0
        self._said: dict[str, dict[str, tuple[float, float]]] = {}
        self._demands: dict[str, TierDemand] = {}

    def start(self, simulation: Simulation) -> None:
        """See Driver: the loop begins, hosts speak once a second."""
        self._simulation, self._clock = simulation, simulation.clock
        self._asks = Asks(simulation, self._take)
        world = simulation.world
        profile = self._begins_with or world.profile
        self._state: ControlState
        self._state, actions = begin(world.graph, profile, simulation.goal, score, Settings(), 0.0)
        self._carry_out(actions)
        self._tick_when_due()
        for tier in {*world.others, *world.speeds}:
            self._clock.at(WORD_S, partial(self._word, tier))

    @property
    def believed(self) -> Profile:
        """See Driver."""
        return self._state.basis.profile

    def plan(self, at_s: float) -> Plan:
        """See Driver."""
        assert self._state.active is not None, "the first plan is ready before the first request"
        self.took_s.append(0.0)
        return self._state.active

    def returned(self, timings: tuple[TierTiming, ...]) -> None:
        """See Driver."""
        self._soon(lambda now_s: Observed(now_s, timings))

    def moving(self, event: Transferring) -> None:
        """See Driver."""
        row = (event.source, event.target, event.sent_bytes, event.seconds, event.is_over)
        self._soon(lambda now_s: Transferring(now_s, *row))

    def _soon(self, event_at: Callable[[float], Event]) -> None:
        at_s = self._clock.now_s + HEARS_S
        self._clock.at(at_s, lambda: self._take(event_at(self._clock.now_s)))

    def _take(self, event: Event) -> None:
        if self._simulation.is_over:
            return
        began_s = self._timer()
        self._state, actions = step(self._state, event)
        self.took_s[-1] += self._timer() - began_s
        self._carry_out(actions)
        self._tick_when_due()

    def _tick_when_due(self) -> None:
        due_s = max(next_due_s(self._state), self._clock.now_s, self._ticked_s + TICK_S)
        if due_s < self._ticks_s:
            self._ticks_s = due_s
            self._clock.at(due_s, partial(self._tick, due_s))

    def _tick(self, due_s: float) -> None:
        if due_s == self._ticks_s:
            self._ticks_s, self._ticked_s = float("inf"), due_s
            self._take(Tick(self._clock.now_s))

    def _carry_out(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            match action:
                case Prepare(plan):
                    for tier in plan.route:
                        self._clock.at(
                            self._clock.now_s + PREPARE_S, partial(self._prepared, plan, tier)
                        )
                case ProbeLink():
                    self._asks.probe(action)
                case MeasureTier():
                    self._asks.measure(action)

    def _prepared(self, plan: Plan, tier: str) -> None:
        now_s = self._clock.now_s
        if not self._simulation.world.is_lost(tier, now_s):
            self._take(Ready(now_s, plan, tier))

    def _word(self, tier: str) -> None:
        """What a host says of itself: how much others took of it, and of the tier."""
        if self._simulation.is_over:
            return
        now_s, world = self._clock.now_s, self._simulation.world
        if not world.is_lost(tier, now_s):
            quick = world.flows[tier].mean(now_s - WORD_S, now_s)
            host = HostLoad(utilisation=max(0.0, 1 - quick) if tier in world.speeds else None)
            word = self._shares(tier, self._simulation.stations[tier], host)
            demand = self._demands.get(tier, TierDemand(tier)).after(word)
            self._demands[tier] = demand
            self._take(TierLoaded(now_s, tier, demand.seen_by(OWN), demand.price_for(OWN)))
        self._clock.at(now_s + WORD_S, partial(self._word, tier))

    def _shares(self, tier: str, station: Station, host: HostLoad) -> TierWord:
        """What the tier computed for whom since its last word, and how long they waited."""
        before = self._said.get(tier, {})
        now = {who: (station.worked_s[who], station.waited_s[who]) for who in (OWN, OTHERS)}
        self._said[tier] = now
        busy, waited_s = dict[str, float](), dict[str, float]()
        for who, (worked, waited) in now.items():
            was = before.get(who, (0.0, 0.0))
            busy[who], waited_s[who] = (worked - was[0]) / WORD_S, (waited - was[1]) / WORD_S
        return TierWord(host, busy, waited_s)
