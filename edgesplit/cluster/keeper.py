"""The caller's thread that keeps tiers and scheduler going: who has died, who is back.

Ray starts a dead actor again, here or on the node that comes back with the tier's label, but empty.
Requests do not wait for any of this: they are finished elsewhere meanwhile.
"""

import logging
import threading
from typing import Any

import ray
import ray.exceptions

from edgesplit.cluster.session import Session
from edgesplit.errors import EdgeSplitError

PERIOD_S = 1.0
_STOP_TIMEOUT_S = 10.0
_SCHEDULER = ""  # as Session.kept_actors() calls it
_log = logging.getLogger(__name__)


class Keeper:
    """Looks once a second which incarnation of each actor answers, and rebuilds a new one."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[str, str] = {}
        self._lost: set[str] = set()
        self._asked: dict[str, Any] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgesplit-keeper", daemon=True)

    def start(self) -> None:
        """Begin, once the tiers are ready; a second call does nothing."""
        if self._thread.ident is None and not self._stopped.is_set():
            self._thread.start()

    def stop(self) -> None:
        """End the thread; nothing of Ray's is called any more when this returns."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        while ray.is_initialized():
            try:
                self._look()
            except (EdgeSplitError, ray.exceptions.RayError) as error:
                if not self._stopped.is_set():
                    _log.warning("not rebuilt yet: %s", error)
            if self._stopped.wait(PERIOD_S):
                return

    def _look(self) -> None:
        for name, actor in self._session.kept_actors().items():
            if name not in self._asked:  # one that has not answered is not asked again
                self._asked[name] = actor.incarnation.remote()
        ready, _ = ray.wait(
            list(self._asked.values()), num_returns=len(self._asked), timeout=PERIOD_S
        )
        for name in [name for name, call in self._asked.items() if call in ready]:
            self._hear(name, self._asked.pop(name))

    def _hear(self, name: str, answer: Any) -> None:
        try:
            incarnation = ray.get(answer, timeout=PERIOD_S)
        except ray.exceptions.RayActorError:
            if name != _SCHEDULER and name not in self._lost:
                self._lost.add(name)
                self._session.tier_lost(name)
            return
        known = self._known.setdefault(name, incarnation)
        if incarnation != known:
            self._rebuild(name)
            self._known[name] = incarnation
        elif name in self._lost:
            self._session.tier_back(name)
        self._lost.discard(name)

    def _rebuild(self, name: str) -> None:
        _log.warning("%s was started again", f"tier {name!r}" if name else "the scheduler")
        if name == _SCHEDULER:
            self._session.rebuild_scheduler()
            for tier in self._lost:
                self._session.tier_lost(tier)
        else:
            self._session.rebuild_tier(name)
