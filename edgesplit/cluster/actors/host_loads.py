"""Asks every tier's actor what it computes for whom, and how loaded its host is.

The answers are events of all sessions that have the tier, each as it looks to that session.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import ray.exceptions

from edgesplit.cluster.actors.workload import TierHandle
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.fleet.tier_demand import TierDemand, TierWord
from edgesplit.node.tier.tier_sessions import TierTold

_TIMEOUT_S = 5.0


class Listening(Protocol):
    """A session that is told. tiers: those that it has."""

    @property
    def tiers(self) -> Mapping[str, TierHandle]:
        """How to reach each."""

    async def loaded(self, tier: str, host: HostLoad, demand_price: float) -> None:
        """What a tier's host says of itself, and the price of demand for the tier."""


class HostLoads:
    """Of the tiers of all `sessions`, by name, as they are at each ask()."""

    def __init__(self, sessions: Mapping[str, Listening]) -> None:
        self._sessions = sessions
        self._asked = set[str]()  # addresses of tiers that have not answered yet
        self._tasks = set[asyncio.Task[None]]()
        self._last: dict[str, TierTold] = {}  # by address
        self._demands: dict[str, TierDemand] = {}
        self._pressed = set[tuple[str, str]]()  # sessions and tiers that others' work was told of

    def ask(self) -> None:
        """Begin to ask every tier once, however many sessions have it."""
        tiers = {one.address: one for session in self._all() for one in session.tiers.values()}
        for known in (self._last, self._demands):
            for address in known.keys() - tiers.keys():
                del known[address]
        sharing = Counter(handle.host for handle in tiers.values())
        for address, handle in tiers.items():
            if handle.host and address not in self._asked:
                self._asked.add(address)
                is_alone = sharing[handle.host] == 1
                task = asyncio.get_running_loop().create_task(self._load(handle, is_alone))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _all(self) -> Collection[Listening]:
        return list(self._sessions.values())

    async def _load(self, handle: TierHandle, is_alone: bool) -> None:
        """is_alone: whether no other tier is on its machine; else the machine's load is no single
        tier's, and no plan can avoid it.
        """
        try:
            told: TierTold = await asyncio.wait_for(
                _result(handle.actor.actor.told.remote()), _TIMEOUT_S
            )
        except (ray.exceptions.RayError, TimeoutError):
            return  # a dead actor is noticed elsewhere
        finally:
            self._asked.discard(handle.address)
        last = self._last.get(handle.address)
        self._last[handle.address] = told
        word = _word(last, told, told.host if is_alone else HostLoad())
        demand = self._demands.get(handle.address) or TierDemand(handle.address)
        self._demands[handle.address] = demand = demand.after(word)
        for name, session in list(self._sessions.items()):
            for tier, one in list(session.tiers.items()):
                if one.address == handle.address:
                    await self._tell(name, session, tier, demand, is_alone)

    async def _tell(
        self, name: str, session: Listening, tier: str, demand: TierDemand, is_alone: bool
    ) -> None:
        host, price = demand.seen_by(name), demand.price_for(name)
        has_news = price > 0 or host != HostLoad()
        if is_alone or has_news or (name, tier) in self._pressed:
            await session.loaded(tier, host, price)
        if has_news:
            self._pressed.add((name, tier))
        else:
            self._pressed.discard((name, tier))


def _word(last: TierTold | None, told: TierTold, host: HostLoad) -> TierWord:
    """What was computed, and waited for, per second since the last word."""
    elapsed_s = told.at_s - last.at_s if last is not None else 0.0
    if last is None or elapsed_s <= 0:
        return TierWord(host, dict.fromkeys(told.worked_s, 0.0))
    busy: dict[str, float] = {}
    waited_s: dict[str, float] = {}
    for session, (computed, waited) in told.worked_s.items():
        before = last.worked_s.get(session, (0.0, 0.0))
        busy[session] = max(0.0, computed - before[0]) / elapsed_s
        waited_s[session] = max(0.0, waited - before[1]) / elapsed_s
    return TierWord(host, busy, waited_s)


async def _result(call: Any) -> Any:
    return await call
