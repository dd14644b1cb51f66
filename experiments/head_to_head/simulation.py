"""Requests of one policy in a world, event by event; tiers and links serve who comes first.

Who waits for whom, fails over and hedges is in waiting.py.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import numpy as np

from edgesplit.core.control.event import Transferring
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming
from experiments.head_to_head.journey import Account, Journey, watts_of
from experiments.head_to_head.served import Floats, Served
from experiments.head_to_head.station import Clock, Station, Work
from experiments.head_to_head.waiting import Waiting
from experiments.head_to_head.world import Noise, Pair, World

OWN, OTHERS, PROBE = "requests", "others", "probe"


class Driver(Protocol):
    """Chooses the plan of each request and hears what became of it.

    has_looks: whether it is told of payloads on their way. hedge: the largest share of requests
    that may be run twice.
    """

    has_looks: bool
    hedge: float

    @property
    def believed(self) -> Profile:
        """What the plan in force was chosen by."""

    def start(self, simulation: "Simulation") -> None:
        """The simulation begins."""

    def plan(self, at_s: float) -> Plan:
        """Of a request that comes now."""

    def returned(self, timings: tuple[TierTiming, ...]) -> None:
        """A request has its answer."""

    def moving(self, event: Transferring) -> None:
        """A payload is on its way."""


class Simulation:
    """One run. input_bytes: of the input, where a policy sends another than the graph's."""

    def __init__(
        self, world: World, goal: Goal, noise: Noise, driver: Driver, input_bytes: int | None = None
    ) -> None:
        self.world, self.goal, self.clock, self.driver = world, goal, Clock(), driver
        self.noise, self.besides = noise, Account()
        self.watts = watts_of(world.profile)
        self.stations = {key: Station(self.clock, flow) for key, flow in world.flows.items()}
        self.delay_s = {link.pair: link.latency_s for link in world.profile.links}
        sizes = world.graph.payload_bytes
        self.payload_bytes = sizes if input_bytes is None else (input_bytes, *sizes[1:])
        self.waiting = Waiting(self)
        self._came_s: dict[Pair | str, float] = {}
        self._journeys: list[Journey] = []
        self._left = 0

    @property
    def is_over(self) -> bool:
        """Whether every request has its answer."""
        return self._left == 0

    def run(self, at_s: Floats) -> Served:
        """A request at each of those times, ascending."""
        self._left = len(at_s)
        for number, begin_s in enumerate(at_s.tolist()):
            self.clock.at(begin_s, partial(self._begin, number))
        for tier, works in self.world.others.items():
            self._other(tier, works, 0)
        self.driver.start(self)
        while self._left or any(station.is_busy for station in self.stations.values()):
            self.clock.turn()
        return self._served()

    def _other(self, tier: str, works: Sequence[tuple[float, float]], at: int) -> None:
        """Let the other device's next work come, and after it those that follow."""
        if at < len(works):
            begin_s, seconds = works[at]
            self.clock.at(begin_s, partial(self._other_came, tier, works, at, seconds))

    def _other_came(
        self, tier: str, works: Sequence[tuple[float, float]], at: int, seconds: float
    ) -> None:
        if not self.is_over:
            self.stations[tier].take(Work(OTHERS, seconds, _nothing, _nothing_of))
            self._other(tier, works, at + 1)

    def _begin(self, number: int) -> None:
        plan = self.driver.plan(self.clock.now_s)
        journey = Journey(number, plan, self.waiting.rules(plan), self.clock.now_s)
        self._journeys.append(journey)
        self._arrive(journey, 0)

    def _arrive(self, journey: Journey, k: int) -> None:
        """The input, or a payload, is at the tier of leg k."""
        leg, now_s = journey.legs[k], self.clock.now_s
        tier = leg.stage.tier
        if k > journey.depth or self.world.is_lost(tier, now_s):
            return
        leg.arrived_s = now_s
        way = (journey.legs[k - 1].stage.tier, tier) if k else tier
        leg.gap_s = now_s - self._came_s.get(way, -np.inf)
        self._came_s[way] = now_s
        self.waiting.count(tier)
        if not len(leg.stage):
            self._computed(journey, k)
            return
        factor = float(self.noise.tiers[tier][journey.number])
        layers = (leg.stage.start, leg.stage.stop)
        leg.work = self.compute(journey, k, layers, factor)

    def compute(self, journey: Journey, k: int, layers: tuple[int, int], factor: float) -> Work:
        """Have the tier of leg k run its layers, or all that are left, from one cut to another."""
        tier = journey.legs[k].stage.tier
        is_rest = layers[0] == journey.legs[k].stage.stop
        done = partial(self.waiting.rest_done if is_rest else self._computed, journey, k)
        start_s, stop_s = (self.world.prefix_s[tier][cut] for cut in layers)
        charge = partial(self.watts.charge, journey.spent, tier, "compute")
        work = Work(OWN, (stop_s - start_s) * factor, done, charge)
        self.stations[tier].take(work)
        return work

    def _computed(self, journey: Journey, k: int) -> None:
        leg = journey.legs[k]
        if leg.work is not None:
            leg.queue_s = leg.work.waited_s
            leg.compute_s = self.clock.now_s - leg.work.began_s
            journey.waited_s += leg.queue_s
        if k > journey.depth or self.world.is_lost(leg.stage.tier, self.clock.now_s):
            return
        if k == len(journey.legs) - 1:
            self.reply(journey, k)
        else:
            self.waiting.send(journey, k)

    def transmit(self, journey: Journey, pair: Pair, n_bytes: float, done: partial[None]) -> Work:
        """Send so many bytes of a request over a link, after what is there before."""
        factor = float(self.noise.links[pair][journey.number])

        def spent(seconds: float) -> None:
            self.watts.charge(journey.spent, pair[0], "transmit", seconds)
            self.watts.charge(journey.spent, pair[1], "receive", seconds)

        work = Work(OWN, n_bytes * factor, done, spent)
        self.stations[pair].take(work)
        return work

    def send(self, journey: Journey, k: int) -> None:
        """Send the payload of leg k to the next tier."""
        leg, after = journey.legs[k], journey.legs[k + 1]
        pair = (leg.stage.tier, after.stage.tier)
        n_bytes = self.payload_bytes[leg.stage.stop]
        leg.sent_s = self.clock.now_s
        leg.payload = self.transmit(journey, pair, n_bytes, partial(self._gone, journey, k, pair))

    def _gone(self, journey: Journey, k: int, pair: Pair) -> None:
        leg, now_s = journey.legs[k], self.clock.now_s
        leg.gone_s = now_s
        assert leg.payload is not None, "it has just left"
        journey.waited_s += leg.payload.waited_s
        self.clock.at(now_s + self.delay_s[pair], partial(self._arrive, journey, k + 1))

    def reply(self, journey: Journey, k: int) -> None:
        """The answer is at the tier of leg k: it goes back, or is there."""
        leg, now_s = journey.legs[k], self.clock.now_s
        leg.own_s = now_s - leg.arrived_s
        if k == 0:
            self._end(journey)
            return
        pair = (leg.stage.tier, journey.legs[k - 1].stage.tier)
        arrive = partial(self.waiting.answered, journey, k - 1)

        def gone() -> None:
            self.clock.at(self.clock.now_s + self.delay_s[pair], arrive)

        self.transmit(journey, pair, self.payload_bytes[-1], partial(gone))

    def _end(self, journey: Journey) -> None:
        journey.ended_s = self.clock.now_s
        self._left -= 1
        self.driver.returned(journey.timings(self.payload_bytes))

    def _served(self) -> Served:
        every = sorted(self._journeys, key=lambda one: one.number)
        besides = self.besides.end_j / len(every), self.besides.total_j / len(every)
        return Served(
            np.array([one.ended_s - one.began_s for one in every]),
            np.array([one.spent.end_j + besides[0] for one in every]),
            np.array([one.spent.total_j + besides[1] for one in every]),
            np.array([one.waited_s for one in every]),
            [str(one.plan) for one in every],
            np.array([one.is_hedged for one in every]),
            np.array([one.has_failed_over for one in every]),
            besides,
        )


def _nothing() -> None:
    """Nobody waits for it."""


def _nothing_of(seconds: float) -> None:
    """Nobody pays for it."""
