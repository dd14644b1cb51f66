"""What the scheduler of a running cluster has recorded: the last events of one workload."""

from typing import Any

import ray
import ray.exceptions

from edgesplit.cluster.actors.recording import Recorded
from edgesplit.cluster.session.status import ANSWER_TIMEOUT_S, asking, scheduler
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
        known = _known(session_id)
        wanted = [name for name in known if workload_id in (None, name[1])]
        if len(wanted) != 1:
            raise UnknownNameError(_which(sorted(known), sorted(wanted)))
        [(session, workload)] = wanted
        actor = scheduler()
        if actor is None:
            raise ClusterError("the scheduler has just ended, with all that it had recorded")
        found: Recorded = _get(actor.recorded.remote(session, workload), _TRANSFER_TIMEOUT_S)
    return found.log(session)


def _known(session_id: str | None) -> list[tuple[str, str]]:
    """Every (session, workload) that is recorded."""
    actor = scheduler()
    found = {} if actor is None else _get(actor.status.remote(), ANSWER_TIMEOUT_S)
    return [
        (session, workload.id)
        for session, (_, workloads) in found.items()
        if session_id in (None, session)
        for workload in workloads
    ]


def _get(call: Any, timeout_s: float) -> Any:
    try:
        return ray.get(call, timeout=timeout_s)
    except (ray.exceptions.RayError, TimeoutError) as error:
        raise ClusterError(
            f"the scheduler did not answer within {timeout_s:g} s: {error}"
        ) from error


def _which(known: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> str:
    if not known:
        return "nothing is recorded: no such session runs, or it has not planned anything yet"
    names = "; ".join(f"--session {session} --workload {workload}" for session, workload in known)
    problem = "several workloads are recorded" if wanted else "no such workload is recorded"
    return f"{problem}; name one of these: {names}"
