"""A session's actors on the Ray cluster it has joined; moves them when the head is replaced.

Every call of Ray's for a session goes through attached(), see connection.py.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import ray

from edgesplit.cluster.actors.call_log import ActorCallLog
from edgesplit.cluster.actors.checkpoint import drop_checkpoints
from edgesplit.cluster.ray.answers import CONTROL_TIMEOUT_S, answer
from edgesplit.cluster.ray.connection import RayConnection
from edgesplit.cluster.ray.join import connect, connect_again, disconnect
from edgesplit.cluster.ray.named import reach
from edgesplit.cluster.ray.nodes import Node
from edgesplit.cluster.ray.placement import Placement
from edgesplit.cluster.session.launch_actors import (
    SessionSettings,
    open_tier,
    scheduler_actor,
    tier_actor,
    tier_actors,
)
from edgesplit.errors import ClosedError, ClusterError

_LONGEST_REATTACHMENT_S = 120.0  # that close() waits for
_END_TIMEOUT_S = 5.0  # of what close() tells the actors: what they miss, they find out
CLOSED = "this EdgeSplit is closed; make a new one"


@dataclass(frozen=True)
class SessionActors:
    """What a session has on one cluster, from joining it until another one is joined.

    call_log: one for each cluster that is joined. opening: what each tier's actor will answer to
    open(); nothing where others were before.
    """

    settings: SessionSettings
    placement: Placement
    call_log: ActorCallLog
    scheduler: Any
    opening: dict[str, Any]

    @property
    def connection(self) -> RayConnection:
        """To the cluster."""
        return self.placement.connection

    @property
    def comes_after_another(self) -> bool:
        """Whether the actors take the places of others, and have to be told what those knew."""
        return not self.opening


class ClusterMembership:
    """Attaches a session to a cluster, to the next one when its head is lost, and to none."""

    def __init__(self) -> None:
        self._now: SessionActors | None = None
        self._given: SessionSettings  # as the user has it, for whichever nodes; from open() on
        self._lock = threading.RLock()  # held while a cluster is joined or left
        self._was_closed = False

    @property
    def is_open(self) -> bool:
        """Whether open() was called and close() was not."""
        return self._now is not None

    def open(self, address: str | None, settings: SessionSettings) -> SessionActors:
        """Join a cluster and begin to start the actors. Raises ClusterError."""
        with self._lock:
            if self._was_closed:
                raise ClosedError(CLOSED)
            self._given, config = settings, settings.config
            placement = connect(address, config.tiers, config.start_timeout_s)
            self._now = self._attach(placement, settings, None)
            return self._now

    def reattach(self, is_ready: Callable[[], bool]) -> None:
        """Leave the cluster whose head is lost, join the one that is there, with new actors.

        is_ready: whether the actors are to be told again what those before them were, which they
        are not here; else they open as the first ones do. Raises ClusterError: then nothing can be
        asked until it has succeeded.
        """
        with self._lock:
            old = self.now
            again = connect_again(old.placement)
            self._now = self._attach(again, old.settings, old.call_log if is_ready() else None)

    def close(self) -> None:
        """Stop the actors, leave the cluster; at any moment, and more than once."""
        self._was_closed = True
        is_mine = self._lock.acquire(timeout=_LONGEST_REATTACHMENT_S)
        try:
            now, self._now = self._now, None
            if now is not None:
                self._leave(now)
        finally:
            if is_mine:
                self._lock.release()

    @property
    def now(self) -> SessionActors:
        """What was attached last. Raises ClosedError, ClusterError before open()."""
        now = self._now
        if self._was_closed:
            raise ClosedError(CLOSED)
        if now is None:
            raise ClusterError("the session is not open")
        return now

    @contextlib.contextmanager
    def attached(self) -> Iterator[SessionActors]:
        """While Ray is called: what there is on the cluster that is joined.

        Actors and references that are taken from it hold no longer than this. Raises CutOffError
        where the cluster's head is lost, ClosedError.
        """
        now = self.now
        with now.connection.used():
            yield now

    def coming(self, node: Node) -> SessionActors:
        """The actors, and one more on that node, which is not told what all are told yet.

        Called while the connection is used.
        """
        now = self.now
        placement = replace(
            now.placement,
            tiers=(*now.placement.tiers, node.name),
            nodes={**now.placement.nodes, node.name: node},
        )
        settings = self._given.on(placement)
        actor = tier_actor(settings, placement, node.name)
        call_log = now.call_log.with_one(node.name, actor)
        return replace(now, settings=settings, placement=placement, call_log=call_log)

    def take(self, coming: SessionActors) -> SessionActors:
        """Have from now on what coming() has made. Raises ClusterError where others came first."""
        with self._lock:
            if not coming.call_log.is_of(self.now.call_log):
                raise ClusterError("the session has moved to another cluster meanwhile")
            self.now.call_log.take(coming.call_log)
            self._now = replace(coming, call_log=self.now.call_log)
            return self._now

    def check(self) -> None:
        """Raise what ends all waiting: ClosedError, CutOffError."""
        self.now.connection.check()

    def answer(self, call: Any, what: str, timeout_s: float = CONTROL_TIMEOUT_S) -> Any:
        """As answers.answer(), and soon over once the session is closed or cut off."""
        return answer(call, what, timeout_s, self.check)

    def tell(
        self,
        method: str,
        args: Callable[[str], tuple[Any, ...]],
        what: str,
        timeout_s: float = CONTROL_TIMEOUT_S,
    ) -> None:
        """Call a method of every tier's actor, with args(tier). Raises as answer()."""
        with self.attached() as now, now.connection.sending():
            tiers = now.call_log.actors
            for call in [now.call_log.call(tier, method, *args(tier)) for tier in tiers]:
                self.answer(call, f"tiers {what}", timeout_s)

    def _attach(
        self, placement: Placement, settings: SessionSettings, old: ActorCallLog | None
    ) -> SessionActors:
        """Reach the actors, or begin to start them. old: what those before them were told."""
        try:
            settings = settings.on(placement)
            with placement.connection.used():
                actors = tier_actors(settings, placement)
                scheduler = scheduler_actor(settings)
                if old is not None:
                    moved = old.moved(actors, placement.connection)
                    return SessionActors(settings, placement, moved, scheduler, {})
                call_log = ActorCallLog(actors, placement.connection)
                opening = {
                    tier: open_tier(settings, placement, tier, actor)
                    for tier, actor in actors.items()
                }
                return SessionActors(settings, placement, call_log, scheduler, opening)
        except Exception:
            disconnect(placement)
            raise

    def _leave(self, now: SessionActors) -> None:
        if not now.connection.is_closed:
            with contextlib.suppress(ClusterError):  # without its head Ray would end the program
                reach(now.connection.address)
                handles = (*now.call_log.actors.values(), now.scheduler)
                ends = [handle.end.remote() for handle in handles]
                ray.wait(ends, num_returns=len(ends), timeout=_END_TIMEOUT_S)
                drop_checkpoints(now.settings.session_id)
        disconnect(now.placement)
