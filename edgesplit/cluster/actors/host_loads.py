"""Asks every tier's actor how loaded its host is; the answers are events of all its sessions."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import ray.exceptions

from edgesplit.cluster.actors.workload import TierHandle
from edgesplit.core.fleet.host_load import HostLoad

_TIMEOUT_S = 5.0


class Listening(Protocol):
    """A session that is told. tiers: those that it has."""

    @property
    def tiers(self) -> Mapping[str, TierHandle]:
        """How to reach each."""

    async def loaded(self, tier: str, host: HostLoad) -> None:
        """What a tier's host says of itself."""


class HostLoads:
    """Of the tiers of all `sessions`, as they are at each ask()."""

    def __init__(self, sessions: Mapping[str, Listening]) -> None:
        self._sessions = sessions
        self._asked = set[str]()  # addresses of tiers that have not answered yet
        self._tasks = set[asyncio.Task[None]]()

    def ask(self) -> None:
        """Begin to ask every tier once, however many sessions have it.

        Not where tiers share a machine: its load is no single tier's, and no plan can avoid it.
        """
        tiers = {one.address: one for session in self._all() for one in session.tiers.values()}
        sharing = Counter(handle.host for handle in tiers.values())
        for address, handle in tiers.items():
            if handle.host and sharing[handle.host] == 1 and address not in self._asked:
                self._asked.add(address)
                task = asyncio.get_running_loop().create_task(self._load(handle))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _all(self) -> Collection[Listening]:
        return list(self._sessions.values())

    async def _load(self, handle: TierHandle) -> None:
        try:
            call = handle.actor.actor.host_load.remote()
            host = await asyncio.wait_for(_result(call), _TIMEOUT_S)
        except (ray.exceptions.RayError, TimeoutError):
            return  # a dead actor is noticed elsewhere
        finally:
            self._asked.discard(handle.address)
        for session in self._all():
            for tier, one in list(session.tiers.items()):
                if one.address == handle.address:
                    await session.loaded(tier, host)


async def _result(call: Any) -> Any:
    return await call
