"""Which of many nodes a plan may use: the nearest of each role, as few as a planner looks at.

What is considered already stays until another node is clearly nearer: a set that flaps would have
programs shipped and layers timed for nothing.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from edgesplit.core.given import is_name, is_number, is_whole
from edgesplit.errors import ConfigError, ProfileError, UnknownNameError

MOST_PER_ROLE = 3
# An end device serves its own user: others are only asked to help where a limit for them is given.
NOT_SHARED = "end"
# A node gives way to one that is nearer by both: noise of a round trip stays below that.
CLEARLY, CLEARLY_S = 1.5, 1e-3


@dataclass(frozen=True)
class FleetNode:
    """A node by its name, which a plan can use, and its role, such as `edge`.

    Raises ProfileError for an empty one.

    Example:
        >>> FleetNode("edge-7", "edge").role
        'edge'
    """

    name: str
    role: str

    def __post_init__(self) -> None:
        if not (is_name(self.name) and is_name(self.role)):
            raise ProfileError(f"a node has a name and a role, given {self.name!r}, {self.role!r}")


def candidates(
    entry: str,
    nodes: Iterable[FleetNode],
    round_trip_s: Mapping[str, float],
    held: Collection[str] = (),
    most: Mapping[str, int] | None = None,
) -> tuple[str, ...]:
    """The names of the nodes to consider beside the entry node, of each role the nearest first.

    round_trip_s: from the entry node, as measured, by name; infinite: it gave no answer, and is not
        considered. A node left out is considered if it is held, or where too few were measured.
    held: those that are considered now; they stay unless clearly farther than others.
    most: by role; a role that is left out has 3, `end` none.

    Of nodes that are equally near the lower number wins. Raises UnknownNameError for an entry that
    is no node, ConfigError for a limit and ProfileError for a round trip that cannot be.

    Example:
        >>> nodes = [FleetNode(name, name.split("-")[0]) for name in ("end-1", "edge-1", "edge-2")]
        >>> candidates("end-1", nodes, {"edge-1": 0.030, "edge-2": 0.004}, most={"edge": 1})
        ('edge-2',)
    """
    nodes, limits, by_role = tuple(nodes), most or {}, dict[str, list[str]]()
    _check(entry, {node.name for node in nodes}, round_trip_s, limits)
    for node in nodes:
        if node.name != entry and round_trip_s.get(node.name, 0.0) < math.inf:
            by_role.setdefault(node.role, []).append(node.name)
    chosen = list[str]()
    for role, names in by_role.items():
        limit = limits.get(role, 0 if role == NOT_SHARED else MOST_PER_ROLE)
        ranked = sorted(names, key=lambda name: _rank(name, round_trip_s, held))
        chosen += sorted(ranked[:limit], key=lambda name: _rank(name, round_trip_s, ()))
    return tuple(chosen)


def _rank(
    name: str, round_trip_s: Mapping[str, float], held: Collection[str]
) -> tuple[float, bool, tuple[str, int, str]]:
    """Nearest first; one that is held counts as nearer by what is clear, or as here if unknown."""
    seconds, is_new = round_trip_s.get(name), name not in held
    if seconds is None:
        return (math.inf if is_new else -math.inf), is_new, _natural(name)
    if is_new:
        return seconds, is_new, _natural(name)
    return min(seconds / CLEARLY, seconds - CLEARLY_S), is_new, _natural(name)


def _natural(name: str) -> tuple[str, int, str]:
    """`edge-2` before `edge-10`."""
    digits = re.search(r"\d{1,18}$", name)
    return (name[: digits.start()], int(digits[0]), name) if digits else (name, -1, name)


def _check(
    entry: str, there: set[str], round_trip_s: Mapping[str, float], limits: Mapping[str, int]
) -> None:
    if entry not in there:
        raise UnknownNameError(
            f"the entry node {entry!r} is none of the {len(there)} nodes given; give it too"
        )
    for role, limit in limits.items():
        if not (is_whole(limit) and limit >= 0):
            raise ConfigError(f"most nodes of role {role!r}: a whole number >= 0, given {limit!r}")
    for name, seconds in round_trip_s.items():
        if not (is_number(seconds) and seconds >= 0):
            raise ProfileError(f"round trip to {name!r}: seconds >= 0, given {seconds!r}")
