"""The scheduler: one actor per cluster, with the control loops of every session.

Sessions are independent of each other: what one asks for is done with its own tiers' handles. It
begins with the first session, and lives as long as the cluster.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Coroutine
from typing import Any

from edgesplit.cluster.actors.host_loads import HostLoads
from edgesplit.cluster.actors.recording import Recorded
from edgesplit.cluster.actors.scheduled_session import UNKNOWN_S, ScheduledSession
from edgesplit.cluster.actors.workload import WorkloadStatus
from edgesplit.cluster.ray.nodes import Node
from edgesplit.cluster.ray.nodes_now import nodes_now
from edgesplit.errors import ClusterError
from edgesplit.node.process.last_heard import LastHeard
from edgesplit.node.tier.tier_sessions import SILENT_S

TICK_S = 0.1
_LOAD_S = 1.0  # between two questions to a host how loaded it is
_NODES_S, _NODES_TIMEOUT_S = 1.5, 5.0  # all sessions ask, and are told the same for so long
_BEGINS = "set_tiers"
_TOLD = ("observe", "transferring")  # nobody waits for an answer: an error would only be printed
_log = logging.getLogger(__name__)


class Scheduler:
    """An async actor: every method may run while others wait."""

    def __init__(self) -> None:
        self._process = uuid.uuid4().hex
        self._begun = 0
        self._sessions: dict[str, ScheduledSession] = {}
        self._last_heard = LastHeard(SILENT_S, _LOAD_S)
        self._loads = HostLoads(self._sessions)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_ticking = False
        self._nodes: tuple[Node, ...] = ()
        self._looked_s = float("-inf")
        self._looking = asyncio.Lock()

    async def call(self, session: str, method: str, *args: Any) -> Any:
        """A method of ScheduledSession, for one session, which its first set_tiers() begins.

        Raises ClusterError where it has not begun; for activation() None after a while, for what
        is only told None.
        """
        found = self._heard(session)
        if found is None and method == _BEGINS:
            found = self._begin(session)
        if found is None and method == "activation":  # not the first start: it will be begun again
            await asyncio.sleep(UNKNOWN_S)
            return None
        if found is None and method in _TOLD:
            return None
        if found is None or method.startswith("_"):
            raise ClusterError(
                "the scheduler was started again and does not know the session yet; ask once more "
                "in some seconds"
            )
        return await getattr(found, method)(*args)

    async def incarnation(self, session: str) -> str:
        """Another one whenever what the session has told is forgotten here."""
        found = self._heard(session)
        return found.incarnation if found else f"{self._process}/none"

    async def end(self, session: str) -> None:
        """Forget a session."""
        found = self._sessions.pop(session, None)
        self._last_heard.forget(session)
        if found is not None:
            found.close()

    async def sessions(self) -> tuple[str, ...]:
        """Those that are open."""
        return tuple(self._sessions)

    async def nodes(self) -> tuple[Node, ...]:
        """The cluster's, as they were a moment ago. Raises ClusterError without the head."""
        async with self._looking:
            if time.monotonic() - self._looked_s > _NODES_S:
                try:
                    self._nodes = await asyncio.to_thread(nodes_now, _NODES_TIMEOUT_S)
                except Exception as error:  # of Ray's, many kinds
                    why = f"the head does not say which nodes there are: {error}"
                    raise ClusterError(why) from error
                self._looked_s = time.monotonic()
            return self._nodes

    async def status(self) -> dict[str, tuple[dict[str, str], tuple[WorkloadStatus, ...]]]:
        """By session: the data plane's address of each tier, and every workload."""
        return {name: await one.status() for name, one in list(self._sessions.items())}

    async def recorded(self, session: str, workload_id: str) -> Recorded:
        """The last events of a workload and what was done about them. Raises ClusterError."""
        found: Recorded = await self.call(session, "recorded", workload_id)
        return found

    def _heard(self, session: str) -> ScheduledSession | None:
        """It is there. None where it has not begun, and nothing is kept of it."""
        found = self._sessions.get(session)
        if found is not None:
            self._last_heard.of(session)
        return found

    def _begin(self, session: str) -> ScheduledSession:
        self._last_heard.of(session)
        self._begun += 1
        made = ScheduledSession(session, f"{self._process}/{self._begun}")
        self._sessions[session] = made
        if not self._is_ticking:
            self._is_ticking = True
            self._spawn(self._tick())
            self._spawn(self._look_after())
        return made

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for name, session in list(self._sessions.items()):
                try:
                    await session.tick()
                except Exception:  # one session's fault is no other's
                    _log.exception("session %s is not looked after", name)

    async def _look_after(self) -> None:
        self._last_heard.look()
        while True:
            await asyncio.sleep(_LOAD_S)
            self._loads.ask()
            self._last_heard.look()
            for name in list(self._sessions):
                if self._last_heard.is_silent(name):
                    _log.warning("session %s is silent for %.0f s, and ends", name, SILENT_S)
                    await self.end(name)
