"""Rounds of a fleet: devices plan at the prices there are, tiers change their prices by demand.

In each round every third device looks at the prices, in turn, so that not all move at once.
"""

from dataclasses import dataclass

import numpy as np

from edgesplit.core.fleet.demand import DemandPrice
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.fleet.pressure import NO_PRESSURE, pressure_of
from experiments.fleet.devices import TARGET
from experiments.fleet.plans import Array, Choice, Fleet

TURNS = 3
FULL = 1e3  # seconds waited per second computed, where a tier is asked for more than it has
_SMOOTHED = 0.1  # of the way to a new pressure that is believed in a round


@dataclass(frozen=True)
class Scene:
    """What is there: which devices, which tiers, and what may be asked of each of these."""

    fleet: Fleet
    capacity: Array
    is_there: Array
    is_dead: Array

    def loads(self, choice: Choice) -> Array:
        """Core seconds per second asked of each tier."""
        return self.fleet.loads(choice, self.is_there)

    def demand(self, choice: Choice) -> Array:
        """Of each tier, what is asked of it to what may be; 0 where it is gone."""
        return np.where(self.is_dead, 0.0, self.loads(choice) / self.capacity)

    def plan(self, prices: Array) -> Choice:
        """Every device's plan."""
        return self.fleet.plan(prices, self.is_dead)

    def score(self, choice: Choice) -> float:
        """The mean score of those that are there."""
        return self.fleet.mean_score(choice, self.is_there)


def whole(fleet: Fleet, capacity: Array) -> Scene:
    """All devices, all tiers."""
    return Scene(fleet, capacity, np.ones(len(fleet)), np.zeros(len(capacity), dtype=bool))


class Market:
    """A fleet's prices and plans, round by round."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.prices = [DemandPrice() for _ in scene.capacity]
        self.choice = scene.plan(self.values)
        self._turn = 0

    @property
    def values(self) -> Array:
        """The prices as numbers."""
        return np.array([price.value for price in self.prices])

    def move_to(self, scene: Scene) -> None:
        """Go on with the prices in another scene.

        Who has just come, or used a tier that is gone, plans at once.
        """
        is_new = scene.is_there > self.scene.is_there
        is_lost = (scene.is_dead[scene.fleet.tiers] & (self.choice.use_s > 0)).any(axis=1)
        self.scene = scene
        self.choice = self.choice.where(is_new | is_lost, scene.plan(self.values))

    def round(self) -> None:
        """A third of the devices plans, then every tier that is there changes its price."""
        is_turn = np.arange(len(self.scene.fleet)) % TURNS == self._turn % TURNS
        self._turn += 1
        self.choice = self.choice.where(is_turn, self.scene.plan(self.values))
        demand = self.scene.demand(self.choice)
        self.prices = [
            price if dead else price.after(float(asked))
            for price, asked, dead in zip(self.prices, demand, self.scene.is_dead, strict=True)
        ]


def under_pressure(scene: Scene, weight: float, rounds: int) -> Choice:
    """What the load that tiers tell leads to by itself, without a price that follows demand.

    weight: of the pressure of load, as Goal.load. Tiers tell their utilisation and how long their
    queues wait by M/M/1.
    """
    pressures = [NO_PRESSURE for _ in scene.capacity]
    choice = scene.plan(np.zeros(len(pressures)))
    for turn in range(rounds):
        told = [_told(float(load)) for load in TARGET * scene.demand(choice)]
        pressures = [
            old.moved(pressure_of(host), _SMOOTHED)
            for old, host in zip(pressures, told, strict=True)
        ]
        prices = np.array([pressure.total(weight, 0.0, 0.0) for pressure in pressures])
        is_turn = np.arange(len(scene.fleet)) % TURNS == turn % TURNS
        choice = choice.where(is_turn, scene.plan(prices))
    return choice


def _told(load: float) -> HostLoad:
    """load: of all its cores, above 1 where more is asked for than there is."""
    return HostLoad(min(1.0, load), min(FULL, load / (1 - load)) if load < 1 else FULL)
