"""An actor that serves many sessions, as one of them calls it."""

from dataclasses import dataclass
from typing import Any

# What an actor itself answers of a session; all else is a method of what it has of the session.
_OF_THE_ACTOR = frozenset({"incarnation", "end"})


@dataclass(frozen=True)
class SessionHandle:
    """handle.METHOD.remote(...) calls that method of the session's part of the actor."""

    actor: Any
    session: str

    def __getattr__(self, method: str) -> "_Method":
        if method.startswith("_"):  # such as pickle asks for
            raise AttributeError(method)
        return _Method(self.actor, self.session, method)


@dataclass(frozen=True)
class _Method:
    actor: Any
    session: str
    name: str

    def remote(self, *args: Any) -> Any:
        """Ray's reference to the answer."""
        if self.name in _OF_THE_ACTOR:
            return getattr(self.actor, self.name).remote(self.session, *args)
        return self.actor.call.remote(self.session, self.name, *args)
