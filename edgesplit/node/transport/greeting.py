"""What comes first on every connection to a tier: the name of the session that it is of.

A name is no secret and proves nothing: what does comes next (security.py). So one port serves many
sessions, and each of them is met with its own credentials only.
"""

import socket
import time

from edgesplit.errors import TransportSecurityError
from edgesplit.node.transport.stream import HANDSHAKE_FAILURE

_MAGIC = b"ESPs"
_LONGEST = 64  # bytes of a name


def greet(connected: socket.socket, session: str) -> None:
    """Say which session it is. Raises OSError."""
    name = session.encode()
    connected.sendall(_MAGIC + bytes([len(name)]) + name)


def read_greeting(accepted: socket.socket, timeout_s: float) -> str:
    """Which session the peer names; nothing of what follows is read.

    Raises TransportSecurityError for what is no greeting, TimeoutError, OSError.
    """
    until_s = time.monotonic() + timeout_s
    if _exactly(accepted, len(_MAGIC), until_s) != _MAGIC:
        accepted.send(HANDSHAKE_FAILURE, socket.MSG_DONTWAIT)  # a word that TLS understands
        raise TransportSecurityError(
            "transport security: the peer does not begin as a peer does; it may be of another "
            "version of EdgeSplit, or another program"
        )
    [length] = _exactly(accepted, 1, until_s)
    if length > _LONGEST:
        raise TransportSecurityError(f"transport security: no session has a name of {length} bytes")
    return _exactly(accepted, length, until_s).decode(errors="replace")


def _exactly(accepted: socket.socket, count: int, until_s: float) -> bytes:
    given = b""
    while len(given) < count:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no greeting in time")
        accepted.settimeout(left_s)
        part = accepted.recv(count - len(given))
        if not part:
            raise ConnectionError("it has closed the connection before it said who it is")
        given += part
    return given
