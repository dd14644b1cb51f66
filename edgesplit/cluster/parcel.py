"""What tiers are sent by reference: kept as what makes it, since a reference ends with its cluster.

A new cluster of the same session is told everything again, from the same parcels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

Get = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Parcel:
    """make(ref, get) puts it into the store of the cluster that is joined; returns the reference.

    ref(parcel): the reference of another parcel that it is made from. get(call, what, timeout_s):
    waits for an answer of Ray's.
    """

    make: Callable[[Callable[["Parcel"], Any], Get], Any]


def parcel_of(value: Any) -> Parcel:
    """A value that this process keeps, to be put into the store as it is."""
    return Parcel(lambda ref, get: ray.put(value))
