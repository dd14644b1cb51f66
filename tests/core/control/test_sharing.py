"""Sessions that share edges, each with its own loop: no herd, loads below the target."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from control_cases import make_ready, of_kind, started
from worlds import VGG, chain

from edgesplit.core.control.event import Prepare, TierLoaded
from edgesplit.core.control.state import ControlState, Settings, current_profile
from edgesplit.core.control.step import step
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.fleet.tier_demand import TARGET, TierDemand, TierWord
from edgesplit.core.profile import Link, Profile
from edgesplit.errors import EventError

EDGES = ("edge-1", "edge-2")
FULL_S = 20.0  # seconds waited per second computed by a queue that is full


def two_edges() -> Profile:
    """end with two equal edges, the second one a little farther."""
    whole = chain(VGG)
    end, edge, _ = whole.tiers
    links = []
    for name, latency_s in zip(EDGES, (0.001, 0.002), strict=True):
        pair = ("end", name)
        links += [Link(*way, latency_s, 40e6) for way in (pair, pair[::-1])]
    edges = (replace(edge, name=name) for name in EDGES)
    return Profile((end, *edges), tuple(links))


@dataclass
class Sharing:
    """Sessions of which each sends so many requests a second, second by second."""

    rates: list[float]
    generator: np.random.Generator
    states: list[ControlState]
    demands: dict[str, TierDemand] = field(
        default_factory=lambda: {edge: TierDemand(edge) for edge in EDGES}
    )
    switches: list[tuple[int, int]] = field(default_factory=list)  # second, session
    loads: list[list[float]] = field(default_factory=list)

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            at_s = len(self.loads) + 1
            self.loads.append([sum(self.shares(edge)) for edge in EDGES])
            for edge in EDGES:
                self.demands[edge] = self.demands[edge].after(self._word(edge))
            for number in range(len(self.states)):
                self._tell(number, at_s)

    def shares(self, edge: str) -> list[float]:
        """Seconds per second that each session would have computed there."""
        layer_s = chain(VGG).tier("edge").layer_s
        return [
            rate
            * sum(sum(layer_s[s.start : s.stop]) for s in state.active.stages if s.tier == edge)
            for rate, state in zip(self.rates, self.states, strict=True)
        ]

    def jain(self) -> float:
        """Jain's index of what the sessions get of all edges: 1.0 where all get as much."""
        got = np.sum([self.shares(edge) for edge in EDGES], axis=0)
        return float(got.sum() ** 2 / (len(got) * (got**2).sum()))

    def _word(self, edge: str) -> TierWord:
        """A tier computes for a second per second at most; measured with 10 % of noise."""
        asked = np.array(self.shares(edge))
        load = asked.sum()
        got = asked / max(1.0, load) * self.generator.lognormal(0.0, 0.1, len(asked))
        wait_s = min(FULL_S, load / (1 - load)) if load < 1 else FULL_S
        names = [f"s{n}" for n in range(len(asked))]
        busy = dict(zip(names, got.tolist(), strict=True))
        waited_s = {name: share * wait_s for name, share in busy.items()}
        return TierWord(HostLoad(utilisation=0.0), busy, waited_s)

    def _tell(self, number: int, at_s: int) -> None:
        for edge in EDGES:
            demand, name = self.demands[edge], f"s{number}"
            host, price = demand.seen_by(name), demand.price_for(name)
            event = TierLoaded(at_s + number * 1e-3, edge, host, price)
            state, actions = step(self.states[number], event)
            for prepare in of_kind(actions, Prepare):
                state, _ = make_ready(state, prepare.plan, event.at_s)
                self.switches.append((at_s, number))
            self.states[number] = state


def sharing(rates, seed=0) -> Sharing:
    generator = np.random.default_rng(seed)
    settles_s = generator.uniform(5.0, 20.0, len(rates))
    states = [
        started(settings=Settings(load_settle_s=float(s)), profile=two_edges()) for s in settles_s
    ]
    return Sharing(list(rates), generator, states)


@pytest.mark.parametrize("seed", range(3))
def test_equal_sessions_share_two_edges_evenly_and_stay(seed):
    """All begin on the nearer edge, which is asked for 1.2 seconds per second."""
    scene = sharing([1.5] * 6, seed)
    assert sum(scene.shares("edge-1")) == pytest.approx(1.2)
    scene.run(120)
    assert max(max(loads) for loads in scene.loads[-60:]) < TARGET
    assert scene.jain() >= 0.95
    assert max(np.bincount([n for _, n in scene.switches])) <= 6
    assert scene.switches[-1][0] < 60


def test_the_first_to_move_does_not_take_the_others_along():
    scene = sharing([1.5] * 6)
    for _ in range(60):
        scene.run(1)
        movers = [n for at_s, n in scene.switches if at_s == len(scene.loads)]
        assert len(movers) <= 3


def test_more_than_two_edges_can_take_is_brought_down_to_what_they_can():
    """1.7 times the target: a price keeps who pays more elsewhere away, without a herd."""
    scene = sharing([1.5] * 12)
    scene.run(400)
    last = np.array(scene.loads[-100:])
    assert 0.8 * TARGET < last.mean() < 1.05 * TARGET
    assert last.max() <= 1.0
    assert sum(at_s > 300 for at_s, _ in scene.switches) <= 12
    assert max(np.bincount([n for _, n in scene.switches])) <= 15


def test_a_lone_session_plans_exactly_as_without_others():
    scene = sharing([6.0])
    alone = scene.states[0]
    scene.run(60)
    for at_s in range(1, 61):
        for edge in EDGES:
            alone, actions = step(alone, TierLoaded(float(at_s), edge, HostLoad(utilisation=0.0)))
            assert not of_kind(actions, Prepare)
    assert scene.states[0] == alone
    assert not scene.switches


def test_a_price_is_believed_at_once_beside_the_load_which_is_not():
    state, busy = started(), HostLoad(utilisation=0.7)
    state, _ = step(state, TierLoaded(1.0, "cloud", busy, 0.5))
    smoothed = 1 - np.exp(-0.1)
    assert current_profile(state).tier("cloud").pressure.load == pytest.approx(smoothed + 0.5)
    state, _ = step(state, TierLoaded(1.0, "cloud", busy, 0.0))
    assert current_profile(state).tier("cloud").pressure.load == pytest.approx(smoothed)


@pytest.mark.parametrize("price", [-0.1, float("nan"), float("inf")])
def test_a_price_that_cannot_be_is_refused(price):
    with pytest.raises(EventError, match="a price of demand is a finite number"):
        step(started(), TierLoaded(1.0, "cloud", HostLoad(), price))
