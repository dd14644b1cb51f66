"""A tier's actor: one per host, for all sessions. Control reaches it through Ray, data by sockets.

It begins with the first session that wants the tier, and lives as long as the cluster.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import ray

from edgesplit.errors import ClusterError
from edgesplit.node.tier.tier_session import Opened, TierSessionSettings
from edgesplit.node.tier.tier_sessions import TierSessions, TierTold


class SegmentActor:
    """Hosts one tier's sessions. A plain class; ray.remote wraps it where it is placed.

    host: that it listens on; empty: the node's own address. ports: one of them; empty: any.
    """

    def __init__(self, tier: str, host: str, ports: Sequence[int]) -> None:
        """Raises OSError where no port is free."""
        self._tier = tier
        self._sessions = TierSessions(tier)
        self._sessions.open_door(host or str(ray.util.get_node_ip_address()), ports)

    def open(self, settings: TierSessionSettings, of_version: str) -> Opened:
        """Begin a session here, or say again how it is.

        of_version: of EdgeSplit, as the caller has it. Raises ClusterError where it is another one
        than here, ConfigError, MeterError.
        """
        own = version("edgesplit")
        if of_version != own:
            raise ClusterError(
                f"tier {self._tier!r} runs EdgeSplit {own}, this program {of_version}: install the "
                "same on all machines, and start Ray there again"
            )
        return self._sessions.open(settings)

    def call(self, session: str, method: str, *args: Any) -> Any:
        """A method of TierSession, for one session."""
        return self._sessions.call(session, method, *args)

    def incarnation(self, session: str) -> str:
        """Another one whenever what that session was told is forgotten here."""
        return self._sessions.incarnation(session)

    def end(self, session: str) -> None:
        """Give up a session."""
        self._sessions.end(session)

    def status(self) -> tuple[str, str, dict[str, str]]:
        """(id of the Ray node, the data plane's address, source of joules by session)."""
        node_id = str(ray.get_runtime_context().get_node_id())
        return node_id, self._sessions.address, self._sessions.metering()

    def told(self) -> TierTold:
        """What this tier's host says of itself, and what sessions have had computed here."""
        return self._sessions.told()

    def close(self) -> None:
        """End every session."""
        self._sessions.close()
