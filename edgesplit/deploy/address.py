"""This host's own addresses, as its routing table has them. No packet is sent."""

import socket

from edgesplit.deploy.node_env import check_value
from edgesplit.errors import ConfigError

_FAR_AWAY = "198.51.100.1"  # RFC 5737: belongs to nobody, so it takes the default route
_DISCARD = 9


def source_address(target: str | None) -> str:
    """The IPv4 address this host has towards `target`, or on its default route.

    Raises ConfigError where `target` is no address or there is no route.
    """
    if target is not None:
        check_value("ES_HEAD_IP", target)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target or _FAR_AWAY, _DISCARD))
        except OSError as error:
            raise ConfigError(
                f"this host has no route to {target or 'other networks'} ({error.strerror}); "
                "connect it, or name its own address with --node-ip"
            ) from error
        return str(probe.getsockname()[0])


def is_own(address: str) -> bool:
    """Whether a network interface of this host has that IPv4 address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True
