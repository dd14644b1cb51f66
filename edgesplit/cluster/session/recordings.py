"""What the schedulers of a running cluster have recorded: the last events of one workload."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import ray
import ray.exceptions

from edgesplit.cluster.actors.recording import Recorded
from edgesplit.cluster.session.status import ANSWER_TIMEOUT_S, asking, schedulers
from edgesplit.core.control.event_file import EventLog
from edgesplit.errors import ClusterError, UnknownNameError

_TRANSFER_TIMEOUT_S = 30.0


def recorded_events(
    address: str | None = None, session_id: str | None = None, workload_id: str | None = None
) -> EventLog:
    """The last events of a workload of the cluster that this process is in or `address` names.

    session_id, workload_id: which one, where there are several. Raises ClusterError where none can
    be asked, UnknownNameError where it is not clear which one is meant.
    """
    with asking(address):
        known = dict(_known(session_id))
        wanted = {
            name: scheduler
            for name, scheduler in known.items()
            if workload_id is None or name[1] == workload_id
        }
        if len(wanted) != 1:
            raise UnknownNameError(_which(sorted(known), sorted(wanted)))
        [((session, workload), scheduler)] = wanted.items()
        found: Recorded = _get(scheduler.recorded.remote(workload), session, _TRANSFER_TIMEOUT_S)
    log = (found.workload_id, found.policy, found.start, tuple(found.events()))
    return EventLog(version("edgesplit"), session, *log)


def _known(session_id: str | None) -> Iterator[tuple[tuple[str, str], Any]]:
    """The scheduler of every (session, workload) there is."""
    for session, scheduler in schedulers():
        if session_id in (None, session):
            _, workloads = _get(scheduler.status.remote(), session, ANSWER_TIMEOUT_S)
            yield from (((session, workload.id), scheduler) for workload in workloads)


def _get(call: Any, session: str, timeout_s: float) -> Any:
    try:
        return ray.get(call, timeout=timeout_s)
    except (ray.exceptions.RayError, TimeoutError) as error:
        raise ClusterError(
            f"the scheduler of session {session} did not answer within {timeout_s:g} s: {error}"
        ) from error


def _which(known: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> str:
    if not known:
        return "nothing is recorded: no such session runs, or it has not planned anything yet"
    names = "; ".join(f"--session {session} --workload {workload}" for session, workload in known)
    problem = "several workloads are recorded" if wanted else "no such workload is recorded"
    return f"{problem}; name one of these: {names}"
