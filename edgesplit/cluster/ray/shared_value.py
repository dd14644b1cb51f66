"""What tiers are sent by reference: kept as a value, since a reference ends with its cluster.

References are made while the values are sent and dropped after that. Ray ends a program that still
has one into the store of a node that has died.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class SharedValue:
    """A value that this process keeps, to be put into the store of the cluster that is joined."""

    value: Any
