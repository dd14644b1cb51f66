"""What the control loop asks of links and tiers, carried out: it takes time and joules as in life.

Probes queue on links and measurements on tiers, as requests do (node/tier/measurements.py).
"""

from collections.abc import Callable

from edgesplit.core.control.event import Event, LinkProbed, MeasureTier, ProbeLink, TierMeasured
from edgesplit.core.control.state import Settings
from experiments.head_to_head.simulation import PROBE, Simulation
from experiments.head_to_head.station import Work

PINGS, PING_BYTES = 3, 64.0  # before the payload of a probe, for the latency


class Asks:
    """answer(event): takes what came back."""

    def __init__(self, simulation: Simulation, answer: Callable[[Event], None]) -> None:
        self._simulation, self._clock, self._answer = simulation, simulation.clock, answer
        self._timeout_s = Settings().probe_timeout_s

    def probe(self, ask: ProbeLink) -> None:
        """Small messages, and then the payload; none of a link whose tier is silent."""
        pair, asked_s = (ask.source, ask.target), self._clock.now_s
        if self._simulation.waiting.is_down(pair):
            return

        def pinged(seconds: float) -> None:
            rest_s = (PINGS - 1) * self._round_trip_s(pair)
            self._clock.at(self._clock.now_s + rest_s, lambda: self._send(ask))

        self._there_and_back(pair, PING_BYTES, asked_s, pinged)

    def _send(self, ask: ProbeLink) -> None:
        pair, latency_s = (ask.source, ask.target), self._round_trip_s((ask.source, ask.target)) / 2

        def came(seconds: float) -> None:
            row = (*pair, ask.sent_bytes, seconds, latency_s)
            self._answer(LinkProbed(self._clock.now_s, *row))

        self._there_and_back(pair, ask.sent_bytes, self._clock.now_s, came)

    def _there_and_back(
        self, pair: tuple[str, str], n_bytes: float, asked_s: float, came: Callable[[float], None]
    ) -> None:
        """came(seconds): once the echo is back; never, where that takes too long."""
        simulation = self._simulation

        def gone() -> None:
            back_s = self._clock.now_s + self._round_trip_s(pair)
            if simulation.world.is_lost(pair[1], self._clock.now_s):
                return
            if back_s <= asked_s + self._timeout_s:
                self._clock.at(back_s, lambda: self._echoed(pair, back_s - asked_s, came))

        def spent(seconds: float) -> None:
            simulation.watts.charge(simulation.besides, pair[0], "transmit", seconds)
            simulation.watts.charge(simulation.besides, pair[1], "receive", seconds)

        simulation.stations[pair].take(Work(PROBE, n_bytes, gone, spent))

    def _echoed(self, pair: tuple[str, str], seconds: float, came: Callable[[float], None]) -> None:
        self._simulation.waiting.heard(pair)
        came(seconds)

    def _round_trip_s(self, pair: tuple[str, str]) -> float:
        return self._simulation.delay_s[pair] + self._simulation.delay_s[pair[::-1]]

    def measure(self, ask: MeasureTier) -> None:
        """The tier computes those layers, after what it has to do before."""
        simulation, tier = self._simulation, ask.tier
        start_s, stop_s = (simulation.world.prefix_s[tier][cut] for cut in (ask.start, ask.stop))
        took = list[float]()

        def spent(seconds: float) -> None:
            took.append(seconds)
            simulation.watts.charge(simulation.besides, tier, "compute", seconds)

        def done() -> None:
            now_s = self._clock.now_s
            if not simulation.world.is_lost(tier, now_s):
                row = (tier, ask.start, ask.stop, took[0], ask.runtime)
                self._answer(TierMeasured(now_s, *row))

        simulation.stations[tier].take(Work(PROBE, stop_s - start_s, done, spent))
