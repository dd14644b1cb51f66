"""The control loops of a session, one per workload: they take events on the scheduler's clock.

Nothing is carried out here: what a loop asks for is handed back.
"""

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from edgesplit.cluster.actors.bounded_policy import bounded
from edgesplit.cluster.actors.checkpoint import Checkpoint
from edgesplit.cluster.actors.workload import Loop, Workload
from edgesplit.core.control.due import next_due_s
from edgesplit.core.control.event import Action, Activate, Event
from edgesplit.core.control.step import begin, step
from edgesplit.core.payload_codec import CodecSpeed
from edgesplit.core.policies.policy import CostPolicy, Policy
from edgesplit.core.policies.published import PUBLISHED
from edgesplit.core.profile import Profile
from edgesplit.errors import ClusterError, EdgeSplitError

_SAVE_S = 5.0  # beliefs that are older are soon learnt again
_MOST_KINDS = 100  # of refused events that are told of
_log = logging.getLogger(__name__)


class ControlLoops:
    """All loops of one session, and what of them outlives the scheduler's process."""

    def __init__(self, session_id: str) -> None:
        self._checkpoint = Checkpoint(session_id)
        self._began_s = 0.0  # on the clock of the first start, when this one began to count
        self._loops: dict[str, Loop] = {}
        self._refused = set[tuple[str, str]]()  # kinds of events and errors that were told of

    @property
    def ids(self) -> Collection[str]:
        """Of the workloads, as they are now."""
        return list(self._loops)

    def due(self) -> list[str]:
        """Workloads whose loops wait for a moment that has come."""
        now_s = self.now_s()
        return [name for name, loop in list(self._loops.items()) if loop.due_s <= now_s]

    def get(self, workload_id: str) -> Loop | None:
        """The loop of a workload, None where it is not known or has ended."""
        return self._loops.get(workload_id)

    def known(self, workload_id: str) -> Loop:
        """The loop of a workload. Raises ClusterError where it is not known."""
        if workload_id not in self._loops:
            raise ClusterError(
                "the scheduler was started again and does not know the workload yet; ask once more "
                "in some seconds"
            )
        return self._loops[workload_id]

    def now_s(self) -> float:
        """This machine's monotonic clock; after a restart it goes on, whatever machine it is."""
        return self._began_s + time.perf_counter()

    def begin(self, workload: Workload, version: int) -> tuple[Loop, Sequence[Action]]:
        """Take up a workload anew; its loop, and what that asks for. As Scheduler.begin()."""
        state, actions = begin(
            workload.graph,
            workload.profile,
            workload.goal,
            _bounded(workload),
            workload.settings,
            self.now_s(),
        )
        return self._take_up(Loop(workload, state), version), actions

    def resume(self, workload: Workload, version: int) -> tuple[Loop, Sequence[Action]]:
        """Go on with a workload as its checkpoint has it. As Scheduler.resume()."""
        kept = self._checkpoint.load(workload.id)
        if kept is None:
            return self.begin(workload, version)
        state, kept_version = kept
        self._began_s = max(self._began_s, state.now_s - time.perf_counter())
        # The goal may have changed since it was saved, and a codec may have been given up.
        profile = state.profile.with_codecs(workload.profile.codecs, _speeds(workload.profile))
        state = replace(state, pending=None, goal=workload.goal, profile=profile)
        loop = self._take_up(Loop(workload, state), max(version, kept_version))
        again = [Activate(state.active, "the scheduler was restarted")] if state.active else []
        return loop, again

    def end(self, workload_id: str) -> None:
        """Forget a workload, and its checkpoint."""
        if self._loops.pop(workload_id, None):
            self._checkpoint.drop(workload_id)

    def take(self, workload_id: str, event: Event) -> Sequence[Action]:
        """What the workload's loop asks for after an event; nothing where it has ended meanwhile.

        An illegal event changes nothing: what it measured is lost, not wrong. Of each kind the
        first one is logged.
        """
        loop = self._loops.get(workload_id)
        if loop is None:
            return ()
        try:
            state, actions = step(loop.state, event)
        except EdgeSplitError as error:
            self._tell_once(event, error)
            return ()
        loop.recording.add(loop.state, event, actions)
        loop.state, loop.due_s = state, next_due_s(state)
        return actions

    def save(self, loop: Loop) -> None:
        """Keep the loop for a scheduler that is started anew."""
        loop.saved_s = self.now_s()
        self._checkpoint.save(loop.workload.id, (loop.state, loop.version))

    def save_where_due(self, workload_id: str) -> None:
        """Keep what was not kept for a while."""
        loop = self._loops.get(workload_id)
        if loop is not None and self.now_s() - loop.saved_s > _SAVE_S:
            self.save(loop)

    def _take_up(self, loop: Loop, version: int) -> Loop:
        loop.version, loop.due_s = version, next_due_s(loop.state)
        self._loops[loop.workload.id] = loop
        return loop

    def _tell_once(self, event: Event, error: EdgeSplitError) -> None:
        kind = (type(event).__name__, type(error).__name__)
        if kind in self._refused or len(self._refused) >= _MOST_KINDS:
            return
        self._refused.add(kind)
        _log.warning(
            "an event is left out, as will be others of its kind (%s, %s): %s", *kind, error
        )


def _speeds(profile: Profile) -> dict[str, tuple[CodecSpeed, ...]]:
    return {tier.name: tier.codec_speeds for tier in profile.tiers}


def _bounded(workload: Workload) -> Policy:
    """Its policy, as the scheduler may ask it: a user's and a published one with a time limit."""
    is_named = bool(workload.policy_name) and workload.policy_name not in PUBLISHED
    is_ours = is_named or isinstance(workload.policy, CostPolicy)
    return workload.policy if is_ours else bounded(workload.policy)
