"""Names, addresses and folders of a testbed. Nothing here touches the system."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from edgesplit.errors import TestbedError

HOSTS = ("end", "edge", "cloud")
HEAD = "cloud"
_FIRST_HOST = 11


@dataclass(frozen=True)
class Layout:
    """name: prefix of everything that is made, at most 8 letters, since a device's name has 15.

    network: the first three numbers of a private /24 that nothing else uses.
    """

    name: str = "estb"
    network: str = "10.83.47"

    def __post_init__(self) -> None:
        is_name = isinstance(self.name, str) and re.fullmatch(r"[a-z0-9]{1,8}", self.name)
        if not is_name:
            raise TestbedError(
                f"a testbed's name is 1 to 8 small letters or digits, given {self.name!r}"
            )
        if not _is_private(self.network):
            raise TestbedError(
                "a testbed's network is the first three numbers of a private /24, such as "
                f"10.83.47, given {self.network!r}"
            )

    @property
    def folder(self) -> Path:
        """State, keys and logs; gone after a reboot, as namespaces are."""
        return Path("/run/edgesplit-testbed") / self.name

    @property
    def bridge(self) -> str:
        """The bridge's device name."""
        return f"{self.name}-br"

    @property
    def gateway(self) -> str:
        """The machine's own address on the bridge."""
        return f"{self.network}.1"

    def device(self, host: str) -> str:
        """The outer end of a host's veth, and the name of its network namespace."""
        return f"{self.name}-{known(host)}"

    def address(self, host: str) -> str:
        """A host's IPv4 address."""
        return f"{self.network}.{_FIRST_HOST + HOSTS.index(known(host))}"

    def host_folder(self, host: str) -> Path:
        """What the host sees as /etc/edgesplit."""
        return self.folder / known(host)

    @property
    def key(self) -> Path:
        """The private SSH key that every host accepts."""
        return self.folder / "key"

    @property
    def cluster_file(self) -> Path:
        """The shipped cluster.yaml with this testbed's addresses and key."""
        return self.folder / "cluster.yaml"


def _is_private(network: str) -> bool:
    try:
        return ipaddress.ip_network(f"{network}.0/24").is_private
    except ValueError:
        return False


def known(host: str) -> str:
    """The host's name. Raises TestbedError for any other."""
    if host not in HOSTS:
        raise TestbedError(f"no host {host!r} in the testbed; its hosts are {', '.join(HOSTS)}")
    return host


def parse_pair(text: str) -> tuple[str, str]:
    """Two hosts from text such as `end-edge`. Raises TestbedError."""
    source, dash, target = text.partition("-")
    if not dash or source == target:
        raise TestbedError(f"a link is two hosts such as end-edge, given {text!r}")
    return known(source), known(target)
