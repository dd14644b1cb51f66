"""How tiers wait for the next one: signs of life, failing over, looks at payloads, hedges.

The rules are the product's (core/failover.py, core/hedge.py, node/transport/peer.py).
"""

import math
from functools import partial
from typing import TYPE_CHECKING

from edgesplit.core.control.event import Transferring
from edgesplit.core.cost import CostModel
from edgesplit.core.failover import failover_timeouts
from edgesplit.core.hedge import HedgeBudget, HedgeRule, hedge_rules
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.node.transport.wire import LATE
from experiments.head_to_head.journey import Journey, Rules
from experiments.head_to_head.silence import SILENT, Peer
from experiments.head_to_head.station import Work
from experiments.head_to_head.watch import Watch
from experiments.head_to_head.world import Pair

if TYPE_CHECKING:
    from experiments.head_to_head.simulation import Simulation

DIAL_TRIPS = 3  # of a new connection: TCP, TLS, and what proves who it is


class Waiting:
    """Of all tiers of one simulation."""

    def __init__(self, simulation: "Simulation") -> None:
        self.simulation = simulation
        world = simulation.world
        self._peers = {
            link.pair: Peer(simulation.clock, world, link, simulation.stations[link.pair])
            for link in world.profile.links
        }
        share = simulation.driver.hedge
        self._budgets = {name: HedgeBudget(share) for name in world.profile.names}
        self._watches: dict[Pair, list[Watch]] = {link.pair: [] for link in world.profile.links}
        self._rests: dict[str, Work] = {}
        self._to_dial = set[Pair]()
        self._believed: Profile | None = None
        self._of_plan: dict[Plan, Rules] = {}

    def count(self, tier: str) -> None:
        """One more request at that tier."""
        self._budgets[tier].count()

    def send(self, journey: Journey, k: int) -> None:
        """Send the payload of leg k on, unless the next tier is known to be silent."""
        pair = self.pair(journey, k)
        journey.legs[k].is_waiting = True
        if pair not in self._to_dial:
            self._send(journey, k)
            return
        self._to_dial.remove(pair)
        clock, delay_s = self.simulation.clock, self.simulation.delay_s
        trips_s = DIAL_TRIPS * (delay_s[pair] + delay_s[pair[::-1]])
        clock.at(clock.now_s + trips_s, partial(self._send, journey, k))

    def _send(self, journey: Journey, k: int) -> None:
        pair = self.pair(journey, k)
        peer, (rule, timeout_s) = self._peers[pair], journey.rules[k + 1]
        if peer.is_down:
            self.fail_over(journey, k, SILENT)
            return
        self.simulation.send(journey, k)
        ahead = len(peer)
        peer.expect((journey.number, k), timeout_s, partial(self._silent, journey, k))
        if self.simulation.driver.has_looks:
            watch = Watch(self, journey, k, rule, ahead)
            self._watches[pair] = [w for w in self._watches[pair] if w.is_on] + [watch]
            watch.begin()

    def pair(self, journey: Journey, k: int) -> Pair:
        """The link from the tier of leg k to the next one."""
        return journey.legs[k].stage.tier, journey.legs[k + 1].stage.tier

    def is_late(self, journey: Journey, k: int, rule: HedgeRule | None) -> None:
        """Leg k's tier would be sooner: it runs the rest too, while there is a share for that."""
        leg, pair = journey.legs[k], self.pair(journey, k)
        if not self._is_any_moving(pair):
            patience_s = math.inf if rule is None else rule.patience_s
            self._peers[pair].suspect(patience_s)  # else its word may be behind a payload
        if self._runs_rest(leg.stage.tier):
            return
        if not k and self._may_take_back(journey, k):
            self._peers[pair].forget((journey.number, k))
            self._take_back(journey, k)
            self.fail_over(journey, k, LATE)
        elif self._budgets[leg.stage.tier].take():
            leg.hedged_s = self.simulation.clock.now_s
            leg.hedge = self._rest(journey, k)

    def _runs_rest(self, tier: str) -> bool:
        """Whether that tier is at the rest of a late request: two would only hold each other up."""
        work = self._rests.get(tier)
        return work is not None and not work.is_over

    def _may_take_back(self, journey: Journey, k: int) -> bool:
        """Whether the payload need not leave: it has not begun to, or is alone on its connection.

        One on which nothing moves is left to who looks whether the tier lives.
        """
        payload, pair = journey.legs[k].payload, self.pair(journey, k)
        if payload is None or payload.is_over:
            return False
        is_alone = len(self._peers[pair]) <= 1
        return payload.began_s == math.inf or (is_alone and self._is_any_moving(pair))

    def _is_any_moving(self, pair: Pair) -> bool:
        return any(watch.is_on and watch.is_moving for watch in self._watches[pair])

    def is_down(self, pair: Pair) -> bool:
        """Whether the tier at the end of that link is known to be silent."""
        return self._peers[pair].is_down

    def heard(self, pair: Pair) -> None:
        """Something has come back over that link."""
        self._peers[pair].heard()

    def rules(self, plan: Plan) -> Rules:
        """Per sender the hedge's rule and the failover timeout, as the caller computes them.

        By the profile that the plan came into force with.
        """
        believed = self.simulation.driver.believed
        if believed is not self._believed:
            self._believed, self._of_plan = believed, {}
        if plan not in self._of_plan:
            model = CostModel(self.simulation.world.graph, believed, self.simulation.goal)
            timeouts = failover_timeouts(model, plan)
            is_hedging = self.simulation.driver.hedge > 0
            rules = hedge_rules(model, plan) if is_hedging else [None] * len(timeouts)
            self._of_plan[plan] = list(zip(rules, timeouts, strict=True))
        return self._of_plan[plan]

    # What ends the wait

    def answered(self, journey: Journey, k: int) -> None:
        """The next tier's answer is at the tier of leg k."""
        leg, peer = journey.legs[k], self._peers[self.pair(journey, k)]
        peer.heard()
        if not leg.is_waiting or k > journey.depth:
            return
        leg.is_waiting = False
        peer.forget((journey.number, k))
        leg.hop_s = self.simulation.clock.now_s - leg.sent_s
        if leg.hedge is not None:
            leg.hedged = "lost"
            if leg.hedge.began_s == math.inf:  # what runs already runs to its end
                self.simulation.stations[leg.stage.tier].drop(leg.hedge)
        self.simulation.reply(journey, k)

    def _silent(self, journey: Journey, k: int) -> None:
        leg = journey.legs[k]
        if not leg.is_waiting or k > journey.depth:
            return
        if leg.payload is not None:  # its connection is given up
            self.simulation.stations[self.pair(journey, k)].drop(leg.payload)
        self.fail_over(journey, k, SILENT)

    def fail_over(self, journey: Journey, k: int, reason: str) -> None:
        """Leg k's tier runs the rest; a hedge that is at it already goes on alone."""
        leg = journey.legs[k]
        leg.is_waiting, leg.failed_over = False, f"{journey.legs[k + 1].stage.tier} {reason}"
        self._give_up(journey, k)
        if leg.hedge is None:
            leg.hedge = self._rest(journey, k)
        elif leg.hedge.is_over:
            self._answer(journey, k)

    def _rest(self, journey: Journey, k: int) -> Work:
        factor = float(self.simulation.noise.rest[journey.number])
        layers = (journey.legs[k].stage.stop, journey.plan.n_layers)
        work = self.simulation.compute(journey, k, layers, factor)
        self._rests[journey.legs[k].stage.tier] = work
        return work

    def rest_done(self, journey: Journey, k: int) -> None:
        """The tier of leg k has run all the rest: the answer, unless the next tier was first."""
        leg = journey.legs[k]
        if k > journey.depth:
            return
        if leg.is_waiting:
            leg.is_waiting, leg.hedged = False, "won"
            leg.failed_over = f"{journey.legs[k + 1].stage.tier} {LATE}"
            self._peers[self.pair(journey, k)].forget((journey.number, k))
            self._take_back(journey, k)
            self._give_up(journey, k)
            self._answer(journey, k)
        elif leg.failed_over:
            self._answer(journey, k)

    def _answer(self, journey: Journey, k: int) -> None:
        leg = journey.legs[k]
        assert leg.hedge is not None, "it has just run"
        leg.compute_s += self.simulation.clock.now_s - leg.hedge.began_s
        journey.waited_s += leg.hedge.waited_s
        self.simulation.reply(journey, k)

    def _take_back(self, journey: Journey, k: int) -> None:
        """What of the payload has not left need not leave, where the connection allows it."""
        leg, pair = journey.legs[k], self.pair(journey, k)
        payload = leg.payload
        if payload is None or payload.is_over:
            return
        clock = self.simulation.clock
        left = self.simulation.stations[pair].left(payload, clock.now_s)
        event = Transferring(
            clock.now_s, *pair, max(0, int(payload.amount - left)), clock.now_s - leg.sent_s, True
        )
        self.simulation.driver.moving(event)
        if payload.began_s == math.inf:
            self.simulation.stations[pair].drop(payload)
        elif not len(self._peers[pair]):  # its connection is given up
            self.simulation.stations[pair].drop(payload)
            self._to_dial.add(pair)

    def _give_up(self, journey: Journey, k: int) -> None:
        """Nobody waits for what lies beyond leg k; what runs there runs to its end."""
        journey.depth = k
        for place, leg in enumerate(journey.legs[k + 1 :], k + 1):
            works = [(leg.stage.tier, leg.work), (leg.stage.tier, leg.hedge)]
            for tier, work in works:
                if work is not None and work.began_s == math.inf:
                    self.simulation.stations[tier].drop(work)
            if leg.is_waiting:
                leg.is_waiting = False
                self._peers[self.pair(journey, place)].forget((journey.number, place))
