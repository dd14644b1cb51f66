"""A connection between two processes of one host: a Unix socket, without TCP and without TLS.

A tier opens it beside its TCP port, in Linux's abstract namespace: no file, gone with its socket,
and seen only within one network namespace. Nothing on it is encrypted, since it never leaves the
kernel. Both sides have to run as the same user, and to prove that they have the session's key.
"""

import hmac
import ipaddress
import os
import secrets
import socket
import struct
import time
from dataclasses import dataclass

from edgesplit.errors import TransportSecurityError
from edgesplit.node.transport.security import Security
from edgesplit.node.transport.stream import HANDSHAKE_FAILURE, PlainStream, close

_MAGIC = b"ESPlocal"
_PROOF_BYTES = _NONCE_BYTES = 32
_CREDENTIALS = struct.Struct("iII")  # process, user, group: ucred in unix(7)
_BACKLOG = 64


class LocalStream(PlainStream):
    """See Stream. connected: a Unix socket, accepted or of connect_here()."""

    def __init__(self, connected: socket.socket, security: Security) -> None:
        super().__init__(connected)
        self._security = security

    def handshake(self, timeout_s: float) -> None:
        """Look at the peer's user, and prove to each other, by a challenge each, to have the key.

        Both name the two processes in it, as the kernel knows them: what somebody in between passes
        on proves nothing. Raises TransportSecurityError, TimeoutError.
        """
        peer, deadline_s = peer_of(self._socket), time.monotonic() + timeout_s
        require_own_user(peer)
        if not self._security.secret:
            return
        if self._security.is_accepting:
            self._accept(peer.process, deadline_s)
        else:
            self._connect(peer.process, deadline_s)

    def _accept(self, process: int, deadline_s: float) -> None:
        if self._exactly(len(_MAGIC), deadline_s) != _MAGIC:
            self._socket.send(HANDSHAKE_FAILURE)  # as TLS does: it may be one that is not secured
            raise _stranger("it does not begin as a peer does")
        nonces = self._exactly(_NONCE_BYTES, deadline_s) + secrets.token_bytes(_NONCE_BYTES)
        context = struct.pack("ii", process, os.getpid()) + nonces
        self._socket.send(nonces[_NONCE_BYTES:] + self._proof(b"accepting", context))
        self._check(b"connecting", context, deadline_s)

    def _connect(self, process: int, deadline_s: float) -> None:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        self._socket.send(_MAGIC + nonce)
        nonces = nonce + self._exactly(_NONCE_BYTES, deadline_s)
        context = struct.pack("ii", os.getpid(), process) + nonces
        self._check(b"accepting", context, deadline_s)
        self._socket.send(self._proof(b"connecting", context))

    def _proof(self, role: bytes, context: bytes) -> bytes:
        return hmac.digest(self._security.secret, role + b"\0" + context, "sha256")

    def _check(self, role: bytes, context: bytes, deadline_s: float) -> None:
        given = self._exactly(_PROOF_BYTES, deadline_s)
        if not hmac.compare_digest(given, self._proof(role, context)):
            raise _stranger("its proof is of another key or process")

    def _exactly(self, count: int, deadline_s: float) -> bytes:
        """The next `count` bytes: nothing of what follows is read before the proof is checked."""
        given = b""
        while len(given) < count:
            if not self.wait(deadline_s - time.monotonic()):
                raise TimeoutError("no answer in time")
            part = self._socket.recv(count - len(given))
            if not part:
                raise _stranger("it has closed the connection")
            given += part
        return given


@dataclass(frozen=True)
class LocalPeer:
    """process, user: of whoever connected, or of whoever listens, when they did so."""

    process: int
    user: int

    @property
    def host(self) -> str:
        """What stands for an address of it, in messages and where addresses are counted."""
        return f"user {self.user} of this host"


def peer_of(connected: socket.socket) -> LocalPeer:
    """Who is at the other end, as the kernel knows it."""
    found = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(found)
    return LocalPeer(process, user)


def require_own_user(peer: LocalPeer) -> None:
    """Raise TransportSecurityError for whoever runs as another user."""
    if peer.user != os.geteuid():
        raise _stranger(f"it runs as user {peer.user}")


def listen_here(address: str) -> socket.socket:
    """A socket for those of this host who would connect to HOST:PORT. Raises OSError."""
    made = socket.socket(socket.AF_UNIX)
    try:
        made.bind(_name(address))
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def connect_here(address: str, timeout_s: float) -> socket.socket | None:
    """A socket to whoever listens for HOST:PORT on this host, as this user; None where nobody does.

    Raises TimeoutError where it does not take the connection.
    """
    if not _is_of_this_host(address.rpartition(":")[0]):
        return None
    made = socket.socket(socket.AF_UNIX)
    # Python's own time limit would turn a full queue into an error at once.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout_s))
    try:
        made.connect(_name(address))
        if peer_of(made).user == os.geteuid():
            return made
    except BlockingIOError as error:
        close(made)
        raise TimeoutError(f"{address} takes no connection") from error
    except OSError:  # nobody listens, or this process may not ask
        pass
    close(made)
    return None


def _name(address: str) -> str:
    return f"\0edgesplit/{address}"


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("ll", whole, int((seconds - whole) * 1e6))


def _is_of_this_host(host: str) -> bool:
    """Whether it is an address of this network namespace; nobody is asked for a name."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return False
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _stranger(why: str) -> TransportSecurityError:
    return TransportSecurityError(
        f"transport security: the peer has not shown that it belongs to this session ({why})"
    )
