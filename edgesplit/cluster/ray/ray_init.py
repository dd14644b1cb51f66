"""Joins the Ray cluster at an address: what has to be there first, and Ray's errors as ours."""

import logging
import os

import psutil
import ray
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # not in Ray's stubs
from ray.exceptions import AuthenticationError, RayError

from edgesplit.cluster.ray.embedded import NAMESPACE, outliving_head
from edgesplit.cluster.ray.environment import AUTH, TOKEN_PATH, read_again
from edgesplit.cluster.ray.named import AUTO, reach
from edgesplit.deploy.node_env import NodeEnv
from edgesplit.errors import ClusterError


def join_at(address: str) -> None:
    """Join the cluster there. Raises ClusterError where it cannot be joined from this machine."""
    try:
        reach(address)
    except ClusterError as error:
        raise ClusterError(
            f"{error}. Check RAY_ADDRESS or address=, or name no cluster to start the embedded one"
        ) from error
    # Ray would look for a node of the cluster on this machine for a minute, and not say so.
    if not _has_ray_node():
        raise ClusterError(
            f"this machine runs no Ray node, and only from one can the cluster at {address!r} be "
            "joined. Run this on a node of it, or make this machine one: docs/deploy.md"
        )
    try:
        _init(address)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ClusterError(
            f"cannot join the Ray cluster at {address!r}: {_reason(error)}. Check the address "
            "(host:port of the head), that a node of it runs on this machine, that Ray has the "
            "same version everywhere, and the token (RAY_AUTH_TOKEN_PATH)"
        ) from error


def _init(address: str) -> None:
    """Join, with the token that Ray has in the user's home where the head asks for one."""
    if address != AUTO and not set(AUTH) & set(os.environ) and _asks_for_token(address):
        _show_token()
    _ray_init(address)


def _asks_for_token(address: str) -> bool:
    """Whether the head lets nobody in without. Ray itself would try in vain for half a minute."""
    try:
        GcsClient(address=address)
    except AuthenticationError:
        return True
    except RayError:
        return False  # Ray says why when it joins
    return False


def _ray_init(address: str) -> None:
    with outliving_head():
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level="error",
            configure_logging=False,
        )


def _has_ray_node() -> bool:
    return any(process.info["name"] == "raylet" for process in psutil.process_iter(["name"]))


def _reason(error: BaseException | None) -> str:
    """The first line of what is at the bottom of an error of Ray's."""
    lines: list[str] = []
    while error is not None:
        lines = str(error).strip().splitlines() or [repr(error)]
        error = error.__cause__ or error.__context__
    return lines[0] if lines else "no reason given"


def take_token(env: NodeEnv) -> None:
    """Let Ray use the token of this host's cluster, unless the user has said otherwise."""
    if not set(AUTH) & set(os.environ):
        os.environ[TOKEN_PATH] = env.token_file
        _show_token()


def _show_token() -> None:
    """Let Ray use the token there is: it has read its environment when it was imported."""
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns that the token is used
    read_again()
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
