"""The sessions of a host's tier: opened, called, and given up once nobody is behind them."""

import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.errors import ClosedError, ClusterError
from edgesplit.node.meter.load_reader import HostLoadReader
from edgesplit.node.meter.pool import MeterPool
from edgesplit.node.process.last_heard import LastHeard
from edgesplit.node.process.named_locks import NamedLocks
from edgesplit.node.process.threads import begin
from edgesplit.node.tier.host import TierHost
from edgesplit.node.tier.shared_programs import SharedPrograms
from edgesplit.node.tier.tier_session import Opened, TierSession, TierSessionSettings

# A caller asks once a second how its sessions are. One that is silent for so long, and to which no
# caller has been connected and no tier has sent anything for a third of that, has gone; if it has
# not, it opens its session anew.
SILENT_S = 30.0
# Between its opening and its first call it waits for the other tiers, which may be slow to start.
_OPENING = 10.0  # times as long
_LOOK_S = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TierTold:
    """What a tier says of itself, at that moment of its own clock.

    worked_s: by session, seconds that its requests have computed so far, and waited for that.
    """

    at_s: float
    host: HostLoad
    worked_s: Mapping[str, tuple[float, float]]


class TierSessions:
    """All of one tier. open_door() comes first; close() ends all of them.

    silent_s: after which a session is given up that nobody asks after.
    """

    def __init__(self, name: str, silent_s: float = SILENT_S) -> None:
        self._name, self._silent_s = name, silent_s
        self._process = uuid.uuid4().hex
        self._host = TierHost(name)
        self._shared = SharedPrograms()
        self._meters = MeterPool()
        self._load = HostLoadReader()
        self._sessions: dict[str, TierSession] = {}
        self._look_s = min(_LOOK_S, silent_s)
        self._last_heard = LastHeard(silent_s, self._look_s)
        # While one is opened or ended: its modules and its meter take what time they want.
        self._locks = NamedLocks()
        self._closed = threading.Event()

    def open_door(self, host: str, ports: Sequence[int]) -> None:
        """Listen. Raises OSError where none of the ports is free."""
        self._host.open(host, ports)
        begin(self._look_after, "sessions")

    @property
    def address(self) -> str:
        """Of the data plane, for all sessions."""
        return self._host.address

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sessions that are open."""
        return tuple(self._sessions)

    def open(self, settings: TierSessionSettings) -> Opened:
        """Begin a session, or say again how it is. Raises ConfigError, MeterError."""
        name = settings.serve.session
        with self._locks.held(name):
            known = self._sessions.get(name)
            if known is not None and known.settings != settings:  # nobody else has its name
                self._end(name)
                known = None
            if known is None:
                known = TierSession(settings, self._host, self._shared, self._meters, self._process)
                self._sessions[name] = known
                self._last_heard.of(name, grace_s=_OPENING * self._silent_s)
            if self._closed.is_set():
                self._end(name)
                raise ClosedError(f"tier {self._name!r} has ended")
            return known.opened()

    def call(self, session: str, method: str, *args: Any) -> Any:
        """A method of a session. Raises ClusterError where it is not open here."""
        found = self._sessions.get(session)
        if found is None or method.startswith("_"):
            raise ClusterError(
                f"tier {self._name!r} does not know session {session!r} any more; it is opened "
                "again within seconds"
            )
        self._last_heard.of(session)
        return getattr(found, method)(*args)

    def incarnation(self, session: str) -> str:
        """Another one whenever what the session was told is forgotten."""
        found = self._sessions.get(session)
        if found is None:
            return f"{self._process}/none"
        self._last_heard.of(session)
        return found.incarnation

    def end(self, session: str) -> None:
        """Give up a session; nothing where there is none."""
        with self._locks.held(session):
            self._end(session)

    def metering(self) -> dict[str, str]:
        """How the joules of each session are counted, in words."""
        return {name: one.opened().metering.text for name, one in list(self._sessions.items())}

    def told(self) -> TierTold:
        """What this host says of itself; what this process takes is not others' load."""
        worked_s = {name: one.worked_s for name, one in list(self._sessions.items())}
        return TierTold(time.monotonic(), self._load.read(), worked_s)

    def close(self) -> None:
        """End all of them, and free the port."""
        self._closed.set()
        for name in list(self._sessions):
            self.end(name)
        self._host.close()
        self._shared.close()

    def _end(self, name: str) -> None:
        found = self._sessions.pop(name, None)
        self._last_heard.forget(name)
        if found is not None:
            found.close(self._host)

    def _look_after(self) -> None:
        self._last_heard.look()
        while not self._closed.wait(self._look_s):
            self._last_heard.look()
            for name, session in list(self._sessions.items()):
                try:
                    self._look_at(name, session)
                except Exception:  # one session's fault is no other's
                    _log.exception("session %s is not given up whole", name)

    def _look_at(self, name: str, session: TierSession) -> None:
        now_s = time.monotonic()
        if session.has_peers(self._silent_s):
            session.had_peers_s = now_s
            return
        if self._last_heard.is_silent(name) and now_s - session.had_peers_s > self._silent_s / 3:
            _log.warning("session %s is silent for %.0f s, and ends", name, self._silent_s)
            self.end(name)
