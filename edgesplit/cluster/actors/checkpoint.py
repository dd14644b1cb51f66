"""What a restarted scheduler goes on with, in Ray's key-value store on the head.

One value per workload: its control loop's state and the version of its last plan, behind a line
that says whose it is. What another version of EdgeSplit or another session wrote is not read.
"""

import logging
from importlib.metadata import version

from ray import cloudpickle
from ray._private import worker
from ray.experimental.internal_kv import (
    _internal_kv_get,
    _internal_kv_put,
)

from edgesplit.core.control.state import ControlState

FORMAT = 4
_SPACE = b"edgesplit"
_DROP_TIMEOUT_S = 5.0
_log = logging.getLogger(__name__)
SavedState = tuple[ControlState, int]


class Checkpoint:
    """Of one session."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id

    def save(self, workload_id: str, kept: SavedState) -> None:
        """Replace what is kept of a workload; without the head it stays as it was."""
        value = _first_line(self._session_id) + cloudpickle.dumps(kept)
        try:
            _internal_kv_put(_key(self._session_id, workload_id), value, namespace=_SPACE)
        except Exception as error:  # of Ray's, many kinds: the head is away
            _log.warning("no checkpoint is written: %s", error)

    def load(self, workload_id: str) -> SavedState | None:
        """What was kept of a workload; None where nothing was, or it is foreign."""
        value = _internal_kv_get(_key(self._session_id, workload_id), namespace=_SPACE)
        first = _first_line(self._session_id)
        if value is None or not value.startswith(first):
            return None
        kept: SavedState = cloudpickle.loads(value[len(first) :])
        return kept

    def drop(self, workload_id: str) -> None:
        """Forget what is kept of a workload."""
        _drop(_key(self._session_id, workload_id), is_prefix=False)


def drop_checkpoints(session_id: str) -> None:
    """Forget all that is kept of a session."""
    _drop(_key(session_id, ""), is_prefix=True)


def _drop(key: bytes, is_prefix: bool) -> None:
    try:
        # Not by _internal_kv_del, which has no time limit.
        gcs = worker.global_worker.gcs_client
        gcs.internal_kv_del(key, is_prefix, _SPACE, timeout=_DROP_TIMEOUT_S)
    except Exception as error:  # of Ray's, many kinds: the head is away, and has forgotten it
        _log.info("checkpoint %s is not dropped: %s", key.decode(), error)


def _first_line(session_id: str) -> bytes:
    return f"edgesplit checkpoint {FORMAT} {version('edgesplit')} {session_id}\n".encode()


def _key(session_id: str, workload_id: str) -> bytes:
    return f"{session_id}/{workload_id}".encode()
