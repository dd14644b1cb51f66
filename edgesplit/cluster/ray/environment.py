"""Ray's environment variables of this process: set while Ray needs them, later as they were.

A user of Ray may have set some of them, for other clusters.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator

from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

MODE, TOKEN, TOKEN_PATH = AUTH = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
# Of the user's variables, those that an embedded cluster takes over: they say how the machine is,
# not which cluster is meant, what it is called or what runs in it.
_TAKEN_OVER = ("RAY_USE_TLS", "RAY_TLS_", "RAY_JEMALLOC_", "RAY_BACKEND_LOG_LEVEL")
# Ray ends the user's program when the head has been away for a minute. Requests need no head.
OUTLIVE_HEAD = {"RAY_gcs_rpc_server_reconnect_timeout_s": "1000000"}


class Before:
    """Ray's variables of this process as they were when this was made."""

    def __init__(self) -> None:
        self._values = _of_ray()

    def restore(self) -> None:
        """Set them so again: child processes and Ray's next cluster would use what is left."""
        for name in _of_ray().keys() - self._values.keys():
            os.environ.pop(name, None)
        os.environ.update(self._values)
        read_again()

    @contextlib.contextmanager
    def own_cluster(self, settings: dict[str, str]) -> Iterator[None]:
        """While a cluster of this process is started: with `settings` and a token of its own.

        Ray listens on all addresses, so this cluster has a token whatever the user's others have.
        What the user has set is back afterwards, but for what names the token.
        """
        token = {MODE: "token", TOKEN: secrets.token_hex(16)}
        kept = {k: v for k, v in self._values.items() if k.startswith(_TAKEN_OVER)}
        for name in self._values:
            os.environ.pop(name, None)
        os.environ.update(kept | settings | token)
        read_again()
        try:
            yield
        finally:
            for name in _of_ray():
                os.environ.pop(name, None)
            others = {k: v for k, v in self._values.items() if k not in AUTH}
            os.environ.update(others | token)


def read_again() -> None:
    """Have Ray look again at what says which token it is to show.

    In this order: a thread of Ray's that is still ending must not look for a token that is gone.
    """
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """With these variables set."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _of_ray() -> dict[str, str]:
    """Those of Ray, and the one by which it takes breakpoint() for itself."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("RAY_") or name == "PYTHONBREAKPOINT"
    }
