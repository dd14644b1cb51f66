"""The caller's thread that hears which runtimes were wrong on real requests, and gives them up.

A tier that finds one stops at once by itself. This thread tells all tiers and the scheduler, so
that no plan uses the runtime for that workload any more, and warns the user.
"""

import contextlib
import logging
import queue
import threading
import warnings
from collections.abc import Callable
from typing import Any

import ray
import ray.exceptions

from edgesplit.cluster.measure.runtimes import Offered, UnusedRuntimeWarning
from edgesplit.cluster.session.membership import SessionActors
from edgesplit.cluster.session.session import Session
from edgesplit.core.layer_times import TORCH, LayerTimes
from edgesplit.errors import ClosedError, EdgeSplitError
from edgesplit.node.runtime.recheck import Failure

_PERIOD_S = 1.0
_STOP_TIMEOUT_S = 10.0
_log = logging.getLogger(__name__)


class RuntimeVerdicts:
    """Asks every tier once a second. heard() takes what the caller has found itself."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._found: dict[str, Callable[[Offered], None]] = {}
        self._heard: queue.SimpleQueue[tuple[str, Failure]] = queue.SimpleQueue()
        self._known: set[tuple[str, str]] = set()
        self._warned: set[tuple[str, str]] = set()
        self._now: SessionActors | None = None  # what the questions under way are of
        self._asked: dict[str, Any] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgesplit-verdicts", daemon=True)

    def start(self) -> None:
        """Begin; call once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; nothing of Ray's is called any more when this returns."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_STOP_TIMEOUT_S)

    def add(self, workload_id: str, found: Callable[[Offered], None]) -> None:
        """found: called with each tier's runtime that is given up, on this thread."""
        self._found[workload_id] = found

    def drop(self, workload_id: str) -> None:
        """Hear of that workload no more."""
        self._found.pop(workload_id, None)

    def heard(self, tier: str, failure: Failure) -> None:
        """The caller has found a tier's answer wrong. Returns at once."""
        self._heard.put((tier, failure))

    def _run(self) -> None:
        while not self._stopped.wait(_PERIOD_S):
            try:
                if self._found:
                    self._look()
            except ClosedError:
                return
            except (EdgeSplitError, ray.exceptions.RayError) as error:
                _log.info("tiers are asked again: %s", error)

    def _look(self) -> None:
        with self._session.attached() as now, now.connection.sending():
            if now is not self._now:
                self._now, self._asked = now, {}
            self._ask(now)
            while not self._heard.empty():
                tier, failure = self._heard.get()
                try:
                    self._give_up(now, tier, failure)
                except BaseException:
                    self._heard.put((tier, failure))
                    raise

    def _ask(self, now: SessionActors) -> None:
        for tier, actor in now.call_log.actors.items():
            if tier not in self._asked:  # one that has not answered is not asked again
                self._asked[tier] = actor.failures.remote()
        calls = list(self._asked.values())
        ready, _ = ray.wait(calls, num_returns=len(calls), timeout=_PERIOD_S)
        for tier in [tier for tier, call in self._asked.items() if call in ready]:
            with contextlib.suppress(ray.exceptions.RayActorError):  # the supervisor sees to that
                for failure in ray.get(self._asked.pop(tier), timeout=_PERIOD_S):
                    self._heard.put((tier, failure))

    def _give_up(self, now: SessionActors, tier: str, failure: Failure) -> None:
        key = (failure.workload, failure.runtime)
        if key in self._known or failure.workload not in self._found:
            return
        why = f"{failure.why} (tier {tier!r})"
        self._warn(key, why)
        told = (*key, why)
        for other in now.call_log.actors:
            now.call_log.call(other, "give_up", *told)
        for other in now.call_log.actors:
            self._offer_torch(now, other, failure.workload)
            self._tell(failure.workload, Offered(other, failure.runtime, why=why))
        self._known.add(key)

    def _warn(self, key: tuple[str, str], why: str) -> None:
        """Once, also where the rest has to be tried again."""
        if key in self._warned:
            return
        self._warned.add(key)
        with contextlib.suppress(UnusedRuntimeWarning):  # where warnings are errors
            warnings.warn(
                f"{key[1]} is not used for this model and input shape any more: {why}",
                UnusedRuntimeWarning,
                stacklevel=2,
            )

    def _offer_torch(self, now: SessionActors, tier: str, workload_id: str) -> None:
        """A tier that was not to use torch has to use it now, if it has it."""
        profile = self._session.planning.known_profile(workload_id)
        if TORCH in profile.tier(tier).runtimes:
            return
        call = now.call_log.actors[tier].torch_times.remote(workload_id)
        with contextlib.suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            times: LayerTimes | None = ray.get(call, timeout=_STOP_TIMEOUT_S)
            if times is not None:
                # The only row would not be dropped: the other one has to be there first.
                told = self._tell(workload_id, Offered(tier, TORCH, times))
                ray.get([told] if told is not None else [], timeout=_STOP_TIMEOUT_S)

    def _tell(self, workload_id: str, offered: Offered) -> Any:
        """Everybody's; Ray's reference."""
        told = self._session.planning.tell_runtime(workload_id, offered)
        self._found[workload_id](offered)
        return told
