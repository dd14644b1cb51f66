"""Which Ray cluster is meant: by address=, RAY_ADDRESS or this host's node file.

Also whether two ways to write an address mean the same one, and whether a head is there.
"""

import os
import socket

from edgesplit.deploy.address import is_own
from edgesplit.deploy.node_env import read_node_env
from edgesplit.deploy.ports import GCS_PORT
from edgesplit.errors import ClusterError

# Ray's own words: a cluster of this process on this machine; whichever one runs on this machine.
LOCAL, AUTO = "local", "auto"
_REACH_TIMEOUT_S = 5.0
_EXPECTED = (
    f"expected HOST:PORT of the cluster's head such as 192.168.1.30:{GCS_PORT}, '{AUTO}' for the "
    f"one that runs on this machine, or '{LOCAL}' for emulated tiers in this process's own"
)


def named_cluster(address: str | None) -> str | None:
    """HOST:PORT, AUTO or LOCAL as the caller or RAY_ADDRESS has it; None where neither does.

    Raises ClusterError for what is no address.
    """
    if address is not None:
        return _checked(address, "address=")
    of_environment = os.environ.get("RAY_ADDRESS")  # Ray takes an empty one for none, too
    return _checked(of_environment, "RAY_ADDRESS") if of_environment else None


def cluster_of_host() -> str | None:
    """HOST:PORT by this host's node file; None where it has none."""
    env = read_node_env()
    return f"{env.head_ip}:{GCS_PORT}" if env is not None else None


def host_and_port(address: str) -> tuple[str, int]:
    """Of HOST:PORT, also [IPV6]:PORT."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_same(one: str, other: str) -> bool:
    """Whether two HOST:PORT are of one head: names are looked up, all of this host's are one."""
    (host, port), (other_host, other_port) = host_and_port(one), host_and_port(other)
    return port == other_port and bool(_places(host) & _places(other_host))


def reach(address: str) -> None:
    """Raise ClusterError unless something listens there: Ray itself would retry for minutes."""
    if address == AUTO:  # Ray's own to find
        return
    try:
        socket.create_connection(host_and_port(address), timeout=_REACH_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Ray head answers at {address!r} ({error})") from error


def _checked(address: str, where: str) -> str:
    if address in (LOCAL, AUTO):
        return address
    if isinstance(address, str) and "://" in address:
        raise ClusterError(
            f"{where} is {address!r}: through Ray's client no payloads can be sent. Run this on a "
            f"node of the cluster; {_EXPECTED}"
        )
    host, colon, port = str(address).rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ClusterError(f"{where} is {address!r}; {_EXPECTED}")
    return str(address)


def _places(host: str) -> set[str]:
    """Its numeric addresses; of this host's own one word for all, and itself where unknown."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return {host}
    return {"here" if _is_here(address) else address for address in found}


def _is_here(address: str) -> bool:
    return (
        address.startswith("127.") or address == "::1" or (":" not in address and is_own(address))
    )
