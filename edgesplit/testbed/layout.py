"""Names, addresses and folders of a testbed. Nothing here touches the system."""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from pathlib import Path

from edgesplit.deploy.node_env import check_value
from edgesplit.errors import ConfigError, TestbedError

HOSTS = ("end", "edge", "cloud")  # of a testbed of which nothing else is said: one per role
HEAD = "cloud"  # the role whose first host runs Ray's head
Pair = tuple[str, str]
TESTBEDS = Path("/run/edgesplit-testbed")
_FIRST_HOST, _LAST_HOST = 11, 254
MOST_HOSTS = _LAST_HOST - _FIRST_HOST + 1
_LONGEST_DEVICE = 15
_HOST_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_BRIDGE = "br"


@dataclass(frozen=True)
class HostSpec:
    """A host of a testbed: its name, which its Ray node bears too, and the tier that it plays."""

    name: str
    role: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _HOST_NAME.fullmatch(self.name):
            raise TestbedError(
                "a host's name is small letters, digits and hyphens between them, such as edge-2; "
                f"given {self.name!r}"
            )
        try:
            check_value("ES_TIER", self.role if isinstance(self.role, str) else "")
        except ConfigError as error:
            raise TestbedError(f"the role of host {self.name}: {error}") from error


THREE_HOSTS = tuple(HostSpec(name, name) for name in HOSTS)


@dataclass(frozen=True)
class Layout:
    """name: prefix of everything that is made, at most 8 letters, since a device's name has 15.

    network: the first three numbers of a private /24 that nothing else uses. hosts: in the order
    of their addresses; where a testbed runs already, its own hosts count.
    """

    name: str = "estb"
    network: str = "10.83.47"
    hosts: tuple[HostSpec, ...] = THREE_HOSTS

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
        for complaint in self._complaints():
            raise TestbedError(complaint)

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts' names."""
        return tuple(host.name for host in self.hosts)

    @property
    def head(self) -> str:
        """The host on which Ray's head runs: the first of role cloud, or else the first."""
        return next((host.name for host in self.hosts if host.role == HEAD), self.names[0])

    def role(self, host: str) -> str:
        """The tier that a host plays."""
        return next(spec.role for spec in self.hosts if spec.name == self.known(host))

    @property
    def folder(self) -> Path:
        """State, keys and logs; gone after a reboot, as namespaces are."""
        return TESTBEDS / self.name

    @property
    def bridge(self) -> str:
        """The bridge's device name."""
        return f"{self.name}-{_BRIDGE}"

    @property
    def gateway(self) -> str:
        """The machine's own address on the bridge."""
        return f"{self.network}.1"

    def device(self, host: str) -> str:
        """The outer end of a host's veth, and the name of its network namespace."""
        return f"{self.name}-{self.known(host)}"

    def address(self, host: str) -> str:
        """A host's IPv4 address."""
        return f"{self.network}.{_FIRST_HOST + self.names.index(self.known(host))}"

    def host_folder(self, host: str) -> Path:
        """What the host sees as /etc/edgesplit."""
        return self.folder / "hosts" / self.known(host)

    @property
    def key(self) -> Path:
        """The private SSH key that every host accepts."""
        return self.folder / "key"

    @property
    def cluster_file(self) -> Path:
        """The shipped cluster.yaml with this testbed's addresses and key."""
        return self.folder / "cluster.yaml"

    def known(self, host: str) -> str:
        """The host's name. Raises TestbedError for any other."""
        if host not in self.names:
            raise TestbedError(
                f"no host {host!r} in the testbed; its hosts are {', '.join(self.names)}"
            )
        return host

    def pair(self, text: str) -> Pair:
        """Two hosts from text such as `end-edge` or `end-1-edge-2`. Raises TestbedError."""
        if text not in self._pairs:
            raise TestbedError(
                f"a link is two hosts such as {next(iter(self._pairs), 'end-edge')}, given "
                f"{text!r}; the hosts are {', '.join(self.names)}"
            )
        return self._pairs[text]

    @cached_property
    def _pairs(self) -> dict[str, Pair]:
        """Each directed pair by its text."""
        return {"-".join(pair): pair for pair in permutations(self.names, 2)}

    def _complaints(self) -> Iterator[str]:
        """Why a testbed cannot have these hosts."""
        longest = _LONGEST_DEVICE - len(self.name) - 1
        if not self.hosts:
            yield "a testbed has at least one host, which runs Ray's head; given none"
        if len(self.hosts) > MOST_HOSTS:
            yield too_many(len(self.hosts))
        for name in self.names:
            if self.names.count(name) > 1:
                yield f"two hosts are called {name}; each has a name of its own"
            if name == _BRIDGE:
                yield f"no host can be called {name}: the testbed's bridge is"
            if len(name) > longest:
                yield (
                    f"the name {name!r} of a host is too long: it has at most {longest} letters, "
                    f"since that of its network device, {self.name}-{name}, has at most "
                    f"{_LONGEST_DEVICE}"
                )
        if len(self._pairs) < len(self.hosts) * (len(self.hosts) - 1):
            texts = Counter("-".join(pair) for pair in permutations(self.names, 2))
            twice = texts.most_common(1)[0][0]
            yield f"the link {twice} would mean two pairs of hosts; give them other names"


def too_many(n_hosts: int) -> str:
    """Why a testbed cannot have so many hosts."""
    return f"a testbed's network has addresses for {MOST_HOSTS} hosts, given {n_hosts}"


def _is_private(network: str) -> bool:
    try:
        return ipaddress.ip_network(f"{network}.0/24").is_private
    except ValueError:
        return False
