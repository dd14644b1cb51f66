"""What happens to one fleet: prices from nothing, then more devices join, then edges die."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from experiments.fleet.bound import Bound, lp_bound
from experiments.fleet.fit import fitted
from experiments.fleet.plans import Choice, Fleet
from experiments.fleet.rounds import Market, Scene, whole

JOIN, DIE = 0.1, 0.1  # of the devices and of the edges
WITHIN = 0.01  # of the bound: converged
FULL_TIER = 1 + 1e-6  # demand, but for rounding


@dataclass(frozen=True)
class Chapter:
    """A scene that the prices meet: for how many rounds, and how often it is looked at closely."""

    name: str
    scene: Scene
    rounds: int
    look_every: int


@dataclass(frozen=True)
class Told:
    """A chapter's end. rows: one per round; plans: those in force after the last one, fitted."""

    chapter: Chapter
    bound: Bound
    rows: list[dict[str, Any]]
    prices: np.ndarray
    plans: Choice

    @property
    def converged_after(self) -> int | None:
        """The round from which on every look is within 1 %, no tier over; None: the last is not."""
        looks = [row for row in self.rows if row["gap"] is not None]
        late = [
            row["round"] for row in looks if row["gap"] > WITHIN or row["worst_fitted"] > FULL_TIER
        ]
        first = [row["round"] for row in looks if row["round"] > max(late, default=-1)]
        return first[0] if first else None


def chapters(fleet: Fleet, capacity: np.ndarray, rounds: tuple[int, int]) -> Iterator[Chapter]:
    """rounds: of the beginning, and of each change."""
    everyone = whole(fleet, capacity)
    generator = np.random.default_rng(3)
    early = generator.permutation(len(fleet)) >= JOIN * len(fleet)
    is_dead = everyone.is_dead.copy()
    is_dead[generator.permutation(fleet.edges)[: max(1, round(DIE * fleet.edges))]] = True
    yield Chapter("from nothing", replace(everyone, is_there=early.astype(float)), rounds[0], 10)
    yield Chapter("10 % more devices", everyone, rounds[1], 1)
    yield Chapter("a tenth of the edges dead", replace(everyone, is_dead=is_dead), rounds[1], 1)


def told(fleet: Fleet, story: list[Chapter], step: Callable[[], None]) -> Iterator[Told]:
    """Each chapter with the prices that the one before has left. step: called after each round."""
    market = Market(story[0].scene)
    for chapter in story:
        market.move_to(chapter.scene)
        looks, seen, rows = {}, [market.choice], []
        for number in range(chapter.rounds + 1):
            if number:
                before = market.choice
                market.round()
                rows.append(_row(chapter, number, market, before))
                step()
            if number and (number % chapter.look_every == 0 or number == chapter.rounds):
                looks[number] = fitted(chapter.scene, market.values, market.choice)
                seen.append(market.choice)
        bound = lp_bound(chapter.scene, seen[-10:])
        for row in rows:
            if row["round"] in looks:
                plans = looks[row["round"]]
                row["gap"] = chapter.scene.score(plans) / bound.lower - 1
                row["worst_fitted"] = float(chapter.scene.demand(plans).max())
        yield Told(chapter, bound, rows, market.values, looks[chapter.rounds])


def _row(chapter: Chapter, number: int, market: Market, before: Choice) -> dict[str, Any]:
    scene, demand = chapter.scene, market.scene.demand(market.choice)
    moved = (market.choice.score != before.score) & (scene.is_there > 0)
    return {
        "chapter": chapter.name,
        "round": number,
        "mean_demand": float(demand[~scene.is_dead].mean()),
        "worst_demand": float(demand.max()),
        "moved": float(moved.sum() / scene.is_there.sum()),
        "score": scene.score(market.choice),
        "gap": None,
        "worst_fitted": None,
    }
