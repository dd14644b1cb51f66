"""Every call that initialised a tier's actor, so that a restarted one can get them again.

A restarted actor remembers nothing. What is kept here is small: programs and payloads are shared
values, whose weights are the caller's model's own.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from edgesplit.cluster.ray.connection import RayConnection
from edgesplit.cluster.ray.shared_value import SharedValue

# What tells two calls of a method apart: of one workload or program, the later one counts.
_KEY_ARGUMENTS = {
    "load": 1, "describe": 1, "profile": 1, "expect": 1, "measure_runtime": 2, "give_up": 2,
}  # fmt: skip
_Told = dict[str, dict[tuple[Any, ...], tuple[Any, ...]]]


class ActorCallLog:
    """The tiers' actors, by name, and the calls that each got, in order.

    connection: to the cluster that the actors are in. Shared values are sent within its
    sending().
    """

    def __init__(
        self, actors: Mapping[str, Any], connection: RayConnection, told: _Told | None = None
    ) -> None:
        self.actors = actors
        self._connection = connection
        self._told: _Told = told if told is not None else {t: {} for t in actors}

    def moved(self, actors: Mapping[str, Any], connection: RayConnection) -> "ActorCallLog":
        """The same for the actors that take these ones' places in another cluster."""
        return ActorCallLog(actors, connection, self._told)

    def only(self, tier: str) -> "ActorCallLog":
        """The same for that tier alone."""
        return ActorCallLog({tier: self.actors[tier]}, self._connection, self._told)

    def with_one(self, tier: str, actor: Any) -> "ActorCallLog":
        """The same and one more tier, which was told nothing yet, and is not told what these are.

        take() has it told so as well.
        """
        told = {**self._told, tier: {}}
        return ActorCallLog({**self.actors, tier: actor}, self._connection, told)

    def is_of(self, other: "ActorCallLog") -> bool:
        """Whether it came from that one by with_one()."""
        return self._connection is other._connection and all(
            self._told.get(tier) is told for tier, told in other._told.items()
        )

    def take(self, other: "ActorCallLog") -> None:
        """Have all tiers of that one, which came from this by with_one()."""
        self._told.update(other._told)
        self.actors = dict(other.actors)

    def call(self, tier: str, method: str, *args: Any) -> Any:
        """Call a method of the tier's actor, to be repeated if it starts anew; Ray's reference.

        A SharedValue among the arguments is sent by reference.
        """
        told = self._told[tier]
        key = (method, *args[: _KEY_ARGUMENTS.get(method, 0)])
        told.pop(key, None)
        told[key] = args
        return self._call(tier, method, args)

    def again(self, tier: str) -> Iterator[tuple[str, Any]]:
        """Methods and their calls under way, in the order in which a new actor needs them.

        What was measured is not measured again: layer times hold for the host, not for the process.
        """
        for (method, *_), args in list(self._told[tier].items()):
            name = "offer" if method == "measure_runtime" else method
            yield name, self._call(tier, name, args)

    def told(self, tier: str, methods: Collection[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """What a tier was told by these methods, in order: (method, arguments)."""
        for (method, *_), args in list(self._told[tier].items()):
            if method in methods:
                yield method, args

    def forget(self, ids: Collection[str]) -> None:
        """Tell nobody again of these workloads and programs."""
        gone = set(ids)
        for told in list(self._told.values()):
            for method, *rest in list(told):
                if rest and rest[0] in gone:
                    told.pop((method, *rest), None)

    def ref(self, shared: SharedValue) -> Any:
        """The shared value's reference in this cluster."""
        return self._connection.ref(shared)

    def _call(self, tier: str, method: str, args: tuple[Any, ...]) -> Any:
        sent = [self.ref(arg) if isinstance(arg, SharedValue) else arg for arg in args]
        return getattr(self.actors[tier], method).remote(*sent)
