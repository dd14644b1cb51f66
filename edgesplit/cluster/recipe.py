"""What every tier's actor was told, so that one that was started anew can be told again.

A restarted actor remembers nothing. What is kept here is small: programs and payloads are parcels,
whose weights are the caller's model's own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from edgesplit.cluster.connection import Connection
from edgesplit.cluster.parcel import Parcel

# What tells two calls of a method apart: of one workload or program, the later one counts.
_KEY_ARGUMENTS = {"load": 1, "describe": 1, "profile": 1, "expect": 1, "row": 2}
_Told = dict[str, dict[tuple[Any, ...], tuple[Any, ...]]]


class Recipes:
    """The tiers' actors, by name, and what each was told, in order.

    connection: to the cluster that the actors are in. Parcels are sent within its sending().
    """

    def __init__(
        self, actors: Mapping[str, Any], connection: Connection, told: _Told | None = None
    ) -> None:
        self.actors = actors
        self._connection = connection
        self._told: _Told = told if told is not None else {t: {} for t in actors}

    def moved(self, actors: Mapping[str, Any], connection: Connection) -> "Recipes":
        """The same for the actors that take these ones' places in another cluster."""
        return Recipes(actors, connection, self._told)

    def call(self, tier: str, method: str, *args: Any) -> Any:
        """Call a method of the tier's actor, to be repeated if it starts anew; Ray's reference.

        A Parcel among the arguments is sent by reference.
        """
        told = self._told[tier]
        key = (method, *args[: _KEY_ARGUMENTS.get(method, 0)])
        told.pop(key, None)
        told[key] = args
        return self._call(tier, method, args)

    def again(self, tier: str) -> Iterator[tuple[str, Any]]:
        """Methods and their calls under way, in the order in which a new actor needs them.

        What was measured is not measured again: a row holds for the host, not for the process.
        """
        for (method, *_), args in list(self._told[tier].items()):
            name = "offer" if method == "row" else method
            yield name, self._call(tier, name, args)

    def ref(self, parcel: Parcel) -> Any:
        """The parcel's reference in this cluster."""
        return self._connection.ref(parcel)

    def _call(self, tier: str, method: str, args: tuple[Any, ...]) -> Any:
        sent = [self.ref(arg) if isinstance(arg, Parcel) else arg for arg in args]
        return getattr(self.actors[tier], method).remote(*sent)
