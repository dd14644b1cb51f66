"""The caller's thread that initialises tiers and scheduler again after they have restarted.

Ray starts a dead actor again, here or on the node that comes back with the tier's label, but empty.
Where the head itself is lost, the session joins the next one with new actors, empty as well.
Requests do not wait for any of this: other tiers or the caller answer them meanwhile.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import ray
import ray.exceptions

from edgesplit.cluster.actors.call_log import ActorCallLog
from edgesplit.cluster.ray.head_watch import HeadWatch
from edgesplit.cluster.session.membership import SessionActors
from edgesplit.cluster.session.session import Session
from edgesplit.errors import ClosedError

PERIOD_S = 1.0
_STOP_TIMEOUT_S = 10.0
_TIERS_FIRST_S = 15.0  # tiers of a new cluster that take longer join its plans later
_SCHEDULER = ""  # beside the tiers' names
_NOBODY = "nobody"  # no actor's incarnation
_log = logging.getLogger(__name__)


class Supervisor:
    """Looks once a second which incarnation of each actor answers, and rebuilds a new one.

    moved: called when plans are made on another cluster than before.
    """

    def __init__(self, session: Session, moved: Callable[[], None]) -> None:
        self._session, self._moved = session, moved
        self._head = HeadWatch()
        self._call_log: ActorCallLog | None = None  # what all of the following is of
        self._attached_s = 0.0
        self._known: dict[str, str] = {}
        self._lost: set[str] = set()
        self._asked: dict[str, Any] = {}
        self._said = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgesplit-supervisor", daemon=True)

    def start(self) -> None:
        """Begin, once the session is open; a second call does nothing."""
        if self._thread.ident is None and not self._stopped.is_set():
            self._thread.start()

    def stop(self) -> None:
        """End the thread; nothing of Ray's is called any more when this returns."""
        self._stopped.set()
        self._head.stop()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._look()
                if not self._head.is_in_doubt:
                    self._said = ""
            except ClosedError:
                return
            except Exception as error:  # of Ray's, many kinds: it is tried again
                self._say(f"not rebuilt yet: {error or repr(error)}")
            self._stopped.wait(PERIOD_S)

    def _say(self, text: str) -> None:
        """Once, however often the same is tried in vain."""
        if text != self._said and not self._stopped.is_set():
            _log.warning("%s", text)
        self._said = text

    def _look(self) -> None:
        if self._head.is_another(self._session.connection, has_silent=bool(self._lost)):
            self._session.reattach()
            _log.warning("the cluster has another head; it is joined, with new actors")
        if not self._session.is_ready:
            return
        with self._session.attached() as now:
            if now.call_log is not self._call_log:
                self._begin(now)
            self._ask(now)
            ready, _ = ray.wait(
                list(self._asked.values()), num_returns=len(self._asked), timeout=PERIOD_S
            )
            answered = [name for name, call in self._asked.items() if call in ready]
            for name in sorted(answered, key=_SCHEDULER.__eq__):  # the scheduler last
                self._hear(name, self._asked.pop(name))

    def _begin(self, now: SessionActors) -> None:
        """Other actors than before; those that are not initialised are rebuilt as they come up."""
        self._call_log, self._attached_s = now.call_log, time.monotonic()
        is_known = not now.comes_after_another
        tiers = [] if is_known else list(now.call_log.actors)
        # Those of ready(), not the first ones that answer: they may be others by now.
        known_incarnations = self._session.known_incarnations() if is_known else {}
        self._known = (
            dict.fromkeys([*now.call_log.actors, _SCHEDULER], _NOBODY) | known_incarnations
        )
        self._lost, self._asked = set(tiers), {}

    def _ask(self, now: SessionActors) -> None:
        for name, incarnation in self._session.known_incarnations().items():
            self._known.setdefault(name, incarnation)  # a tier that has joined
        for name, actor in {**now.call_log.actors, _SCHEDULER: now.scheduler}.items():
            if name in self._known and name not in self._asked:  # else it has not answered yet
                self._asked[name] = actor.incarnation.remote()

    def _hear(self, name: str, answer: Any) -> None:
        try:
            incarnation = ray.get(answer, timeout=PERIOD_S)
        except ray.exceptions.RayActorError:
            if name != _SCHEDULER and name not in self._lost:
                self._lost.add(name)
                self._session.planning.tier_lost(name)
            return
        known = self._known[name]
        if name == _SCHEDULER and known == _NOBODY and self._is_too_early():
            return
        if incarnation != known:
            # Not what has just answered: that knew nothing of the session yet.
            self._known[name] = self._rebuild(name)
            if name == _SCHEDULER and known == _NOBODY:
                self._moved()
        elif name in self._lost:
            self._session.planning.tier_back(name)
        self._lost.discard(name)

    def _is_too_early(self) -> bool:
        """For the scheduler of a new cluster, whose first plan had better know all tiers."""
        return bool(self._lost) and time.monotonic() - self._attached_s < _TIERS_FIRST_S

    def _rebuild(self, name: str) -> str:
        """Which incarnation of it knows the session now."""
        _log.warning("%s was started again", f"tier {name!r}" if name else "the scheduler")
        if name == _SCHEDULER:
            return self._session.planning.rebuild(self._lost)
        rebuilt = self._session.rebuild_tier(name)
        if self._known.get(_SCHEDULER) != _NOBODY:
            self._session.planning.tier_back(name)
        return rebuilt
