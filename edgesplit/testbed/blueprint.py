"""A testbed as its user asks for it: text such as `end=3,edge=2,cloud=1`, or a file of YAML.

The file names every host, and may give it a quota of CPU and pairs of hosts a rate:

    hosts:
      camera-1: {role: end, cpus: 0.2}
      camera-2: {role: end, cpus: 0.2}
      edge: {role: edge}
      cloud: {role: cloud}
    links:
      camera-1-edge: 5Mbit/s
      edge-cloud: 40MB/s
"""

import re
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edgesplit.errors import TestbedError
from edgesplit.testbed.cpu import quota
from edgesplit.testbed.layout import MOST_HOSTS, HostSpec, Layout, Pair, too_many
from edgesplit.testbed.rate import parse_rate
from edgesplit.testbed.testbed import Testbed

FILE_ENDINGS = (".yaml", ".yml")
_PART = re.compile(r"\s*([^=\s]+)\s*=\s*([0-9]+)\s*")
_HOST_KEYS, _FILE_KEYS = {"role", "cpus"}, {"hosts", "links"}


@dataclass(frozen=True)
class Blueprint:
    """Hosts in the order of their addresses, and under which conditions they begin.

    cores: quota of CPU per host. rates: bytes per second per directed pair.
    """

    hosts: tuple[HostSpec, ...]
    cores: dict[str, float] = field(default_factory=dict)
    rates: dict[Pair, float] = field(default_factory=dict)

    def set_on(self, bed: Testbed) -> None:
        """Have the running testbed keep these conditions; what is not named stays as it is."""
        for host, cores in self.cores.items():
            bed.slow(host, cores)
        for rate in dict.fromkeys(self.rates.values()):
            bed.shape([pair for pair, other in self.rates.items() if other == rate], rate)


def read_blueprint(given: str, name: str = Layout.name) -> Blueprint:
    """What `--hosts` says: roles with how many hosts each has, or a file that ends in .yaml.

    A role's hosts are ROLE-1, ROLE-2, ...; a single one is called as its role. name: the
    testbed's, which leaves those of its hosts less room. Raises TestbedError.

    Example:
        >>> [host.name for host in read_blueprint("end=2,cloud=1").hosts]
        ['end-1', 'end-2', 'cloud']
    """
    if given.endswith(FILE_ENDINGS):
        return _from_file(Path(given), name)
    return Blueprint(Layout(name, hosts=tuple(_counted(given))).hosts)


def _counted(given: str) -> list[HostSpec]:
    """The hosts of text such as `end=3,edge=2,cloud=1`."""
    parts = [_PART.fullmatch(part) for part in given.split(",")]
    counts = [(part[1], int(part[2])) for part in parts if part is not None]
    if len(counts) < len(parts) or any(count < 1 for _, count in counts):
        raise TestbedError(
            "hosts are roles with their number, 1 or more, such as end=3,edge=2,cloud=1, or a file "
            f"whose name ends in .yaml; given {given!r}"
        )
    for role, times in Counter(role for role, _ in counts).items():
        if times > 1:
            raise TestbedError(f"role {role} stands {times} times in {given!r}; add its hosts up")
    n_hosts = sum(count for _, count in counts)
    if n_hosts > MOST_HOSTS:
        raise TestbedError(too_many(n_hosts))
    return [
        HostSpec(role if count == 1 else f"{role}-{number}", role)
        for role, count in counts
        for number in range(1, count + 1)
    ]


def _from_file(file: Path, name: str) -> Blueprint:
    try:
        found = yaml.load(file.read_text("utf-8"), _Strict)  # a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TestbedError(f"cannot read the hosts in {file}: {error}") from error
    try:
        return _checked(found, name)
    except TestbedError as error:
        raise TestbedError(f"{file}: {error}") from error


def _checked(found: Any, name: str) -> Blueprint:
    top = _mapping(found, "the file", _FILE_KEYS)
    if "hosts" not in top:
        raise TestbedError(
            "it has no `hosts:`; expected that, and below it a line per host such as "
            "`edge-1: {role: edge}`"
        )
    rows = {
        host: _mapping(row, f"host {host}", _HOST_KEYS)
        for host, row in _mapping(top["hosts"], "hosts").items()
    }
    hosts = tuple(HostSpec(host, _role(host, row)) for host, row in rows.items())
    layout = Layout(name, hosts=hosts)
    cores = {host: _cores(host, row["cpus"]) for host, row in rows.items() if "cpus" in row}
    rates: dict[Pair, float] = {}
    for text, rate in _mapping(top.get("links", {}), "links").items():
        source, target = layout.pair(str(text))
        if (source, target) in rates:
            raise TestbedError(f"link {text} stands there in both directions, which have one rate")
        rates |= dict.fromkeys([(source, target), (target, source)], parse_rate(str(rate)))
    return Blueprint(layout.hosts, cores, rates)


def _mapping(found: Any, where: str, keys: set[str] | None = None) -> Mapping[Any, Any]:
    """`found`, if it is a mapping with no keys but these. Raises TestbedError."""
    if not isinstance(found, dict):
        raise TestbedError(f"{where}: expected lines KEY: VALUE, given {found!r}")
    unknown = [str(key) for key in found if keys is not None and key not in keys]
    if unknown:
        raise TestbedError(
            f"{where}: unknown {', '.join(unknown)}; the keys are {', '.join(sorted(keys or ()))}"
        )
    return found


def _role(host: Any, row: Mapping[Any, Any]) -> Any:
    if "role" not in row:
        raise TestbedError(f"host {host} has no role; say which tier it plays, such as role: edge")
    return row["role"]


def _cores(host: Any, cpus: Any) -> float:
    if isinstance(cpus, bool) or not isinstance(cpus, int | float):
        raise TestbedError(f"host {host}: cpus is a number of cores such as 0.2, given {cpus!r}")
    try:
        quota(cpus)
    except TestbedError as error:
        raise TestbedError(f"host {host}: {error}") from error
    return float(cpus)


class _Strict(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Takes no key twice: of two hosts of one name YAML itself would forget the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As SafeLoader. Raises yaml.YAMLError for a key that stands there twice."""
        made: dict[Hashable, Any] = super().construct_mapping(node, deep)
        if len(made) < len(node.value):
            keys = Counter(key.value for key, _ in node.value)
            raise yaml.YAMLError(f"{keys.most_common(1)[0][0]} stands there twice")
        return made
