"""What every tier's actor was told, so that one that was started anew can be told again.

A restarted actor remembers nothing. What is kept here is small: programs and payloads are
references into Ray's store, which the caller's process owns.
"""

from collections.abc import Mapping
from typing import Any

# What tells two calls of a method apart: of one workload or program, the later one counts.
_KEY_ARGUMENTS = {"load": 1, "describe": 1, "profile": 1, "expect": 1, "row": 2}


class Recipes:
    """The tiers' actors, by name, and what each was told, in order."""

    def __init__(self, actors: Mapping[str, Any]) -> None:
        self.actors = actors
        self._told: dict[str, dict[tuple[Any, ...], tuple[Any, ...]]] = {t: {} for t in actors}

    def call(self, tier: str, method: str, *args: Any) -> Any:
        """Call a method of the tier's actor, to be repeated if it starts anew; Ray's reference."""
        told = self._told[tier]
        key = (method, *args[: _KEY_ARGUMENTS.get(method, 0)])
        told.pop(key, None)
        told[key] = args
        return getattr(self.actors[tier], method).remote(*args)

    def told(self, tier: str) -> list[tuple[str, tuple[Any, ...]]]:
        """Methods and arguments, in the order in which a new actor needs them.

        What was measured is not measured again: a row holds for the host, not for the process.
        """
        told = [(key[0], args) for key, args in list(self._told[tier].items())]
        return [("offer" if method == "row" else method, args) for method, args in told]
