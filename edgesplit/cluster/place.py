"""Where things run: join a named Ray cluster, or start the embedded one on this machine.

A tier is a node's label `tier=NAME`. A host set up by `edgesplit node init` names its cluster in
its node file.
"""

import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psutil
import ray
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray.util import list_named_actors

from edgesplit.cluster.connection import CONNECTING, Connection
from edgesplit.cluster.embedded import (
    EMBEDDED,
    NAMESPACE,
    outliving_head,
    start_embedded,
    stop_embedded,
)
from edgesplit.deploy.node_env import NodeEnv, read_node_env
from edgesplit.deploy.ports import DATA_PORTS, GCS_PORT
from edgesplit.errors import ClusterError
from edgesplit.node.allocator import ALLOCATOR_ENV

_REACH_TIMEOUT_S = 5.0
_END_TIMEOUT_S = 30.0  # for calls under way to come back when a connection is to end


@dataclass(frozen=True)
class Placement:
    """A cluster that this process is connected to.

    is_embedded: one machine plays all tiers. cpus: of each tier's node, as Ray was told when it
    was started.
    """

    connection: Connection
    tiers: tuple[str, ...]
    is_embedded: bool
    cpus: dict[str, int]

    def options(self, tier: str) -> dict[str, Any]:
        """Ray actor options that put an actor on `tier`."""
        runtime_env = {"env_vars": ALLOCATOR_ENV}
        if self.is_embedded:
            return {"runtime_env": runtime_env}
        return {"runtime_env": runtime_env, "label_selector": {"tier": tier}}

    @property
    def host(self) -> str:
        """The address tiers listen on; empty: each node's own."""
        return "127.0.0.1" if self.is_embedded else ""

    @property
    def ports(self) -> Sequence[int]:
        """The ports a tier may listen on; empty: any."""
        return () if self.is_embedded else DATA_PORTS

    def threads(self, tier: str) -> int:
        """torch threads of a tier where nothing else is asked for: one if embedded, else all."""
        return 1 if self.is_embedded else self.cpus.get(tier, 1)


def connect(address: str | None, tiers: Sequence[str]) -> Placement:
    """Join the cluster that `address`, RAY_ADDRESS, this process or this host's node file names.

    Where none is named the embedded one is started. Raises ClusterError where it cannot be reached
    or lacks a node for one of `tiers`.
    """
    with CONNECTING.lock:
        is_ours = not ray.is_initialized()
        is_own_cluster = is_ours and not _named(address)
        if is_own_cluster:
            start_embedded()
        elif is_ours:
            join(address)
        placement = _placement(CONNECTING.entered(is_ours, is_own_cluster), tiers)
        if not placement.is_embedded:
            try:
                _require(tiers, _alive(), placement.connection.address)
            except ClusterError:
                disconnect(placement)
                raise
        return placement


def connect_again(placement: Placement) -> Placement:
    """Leave a cluster whose head is lost for the one that is there now.

    That is the cluster at the same address, with nodes for some of the tiers at least; a new
    embedded one in place of an embedded one of this process. Raises ClusterError, and then the
    process may be in no cluster.
    """
    with CONNECTING.lock:
        connection = placement.connection
        has_moved = ray.is_initialized() and not connection.is_rays
        if not (connection.is_ours or has_moved):
            raise ClusterError(
                f"the head of the Ray cluster at {connection.address} was lost, and this "
                "program has joined it by itself: call ray.shutdown() and ray.init() again"
            )
        if connection.is_rays:  # else another session has been here already
            connection.end(_END_TIMEOUT_S)
            _leave(connection)
        if not ray.is_initialized() and connection.is_own_cluster:
            start_embedded()
        elif not ray.is_initialized():
            _join(connection.address)
        is_ours = connection.is_ours and not has_moved
        again = CONNECTING.entered(is_ours, is_ours and connection.is_own_cluster)
        made = _placement(again, placement.tiers)
        return replace(made, cpus={**placement.cpus, **made.cpus})


def join(address: str | None) -> str:
    """Join the cluster that `address`, RAY_ADDRESS or this host's node file names; its address.

    Does nothing where this process is connected already. Raises ClusterError where none is named
    or it cannot be joined.
    """
    if not ray.is_initialized():
        env = read_node_env()
        named = _named(address)
        if named is None:
            raise ClusterError(
                "no cluster is named: give --address HOST:PORT, set RAY_ADDRESS, or set this host "
                "up with `edgesplit node init`"
            )
        if env is not None and named.rpartition(":")[0] in (env.head_ip, "", "127.0.0.1"):
            _take_token(env)
        _join(named)
    return str(ray.get_runtime_context().gcs_address)


def _named(address: str | None) -> str | None:
    env = read_node_env()
    of_host = f"{env.head_ip}:{GCS_PORT}" if env is not None else None
    return address or os.environ.get("RAY_ADDRESS") or of_host


def _take_token(env: NodeEnv) -> None:
    """Let Ray use the token of this host's cluster, unless the user has said otherwise.

    Ray has read its environment when it was imported; this function of Ray's reads it again.
    """
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"} & set(os.environ):
        os.environ["RAY_AUTH_TOKEN_PATH"] = env.token_file
        logging.getLogger("ray").setLevel(logging.ERROR)  # it warns that the token is used
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def disconnect(placement: Placement) -> None:
    """Leave the cluster if nothing of EdgeSplit uses it any more; stop it if it is embedded."""
    with CONNECTING.lock:
        connection = placement.connection
        if not CONNECTING.left(connection):
            return
        if placement.is_embedded and not _is_used_by_others(connection):
            stop_embedded()
        elif connection.is_ours and not placement.is_embedded:
            ray.shutdown()


def _leave(connection: Connection) -> None:
    if connection.is_own_cluster:
        stop_embedded()
    else:
        ray.shutdown()


def _is_used_by_others(connection: Connection) -> bool:
    """Whether actors of another process are in our embedded cluster; without its head, no."""
    try:
        reach(connection.address)
    except ClusterError:
        return False
    return bool(list_named_actors(all_namespaces=True))


def _placement(connection: Connection, tiers: Sequence[str]) -> Placement:
    nodes = _alive()
    is_embedded = any(EMBEDDED.items() <= node["Labels"].items() for node in nodes)
    cpus = {
        node["Labels"].get("tier", ""): max(1, int(node["Resources"].get("CPU", 1)))
        for node in nodes
    }
    return Placement(connection, tuple(tiers), is_embedded, cpus)


def _alive() -> list[Any]:
    return [node for node in ray.nodes() if node["Alive"]]


def _require(tiers: Sequence[str], nodes: list[Any], where: str) -> None:
    labels = [node["Labels"] for node in nodes]
    found = sorted({label["tier"] for label in labels if "tier" in label})
    missing = [tier for tier in tiers if tier not in found]
    if missing:
        raise ClusterError(
            f"the Ray cluster at {where} has no node for tier {', '.join(missing)}: its "
            f"{len(labels)} node(s) carry the tier labels {found or 'none'}. Start the missing "
            f"node with `ray start --address={where} --labels=tier={missing[0]}`, or name other "
            "tiers with tiers=(...)"
        )


def _join(address: str) -> None:
    reach(address)
    # Ray would look for a node of the cluster on this machine for a minute, and not say so.
    if not address.startswith("ray://") and not _has_ray_node():
        raise ClusterError(
            f"this machine runs no Ray node, and only from one can the cluster at {address!r} be "
            "joined. Run this on a node of it, or make this machine one: docs/deploy.md"
        )
    try:
        with outliving_head():
            ray.init(
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level="error",
                configure_logging=False,
            )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ClusterError(
            f"cannot join the Ray cluster at {address!r}: {_reason(error)}. Check the address "
            "(host:port of the head), that a node of it runs on this machine, that Ray has the "
            "same version everywhere, and the token (RAY_AUTH_TOKEN_PATH)"
        ) from error


def _has_ray_node() -> bool:
    return any(process.info["name"] == "raylet" for process in psutil.process_iter(["name"]))


def _reason(error: BaseException | None) -> str:
    """The first line of what is at the bottom of an error of Ray's."""
    lines: list[str] = []
    while error is not None:
        lines = str(error).strip().splitlines() or [repr(error)]
        error = error.__cause__ or error.__context__
    return lines[0] if lines else "no reason given"


def reach(address: str) -> None:
    """Raise ClusterError unless something listens there: Ray itself would retry for minutes."""
    host, _, port = address.rpartition(":")
    if "/" in address or not port.isdigit():  # "auto" and ray:// are Ray's own to resolve
        return
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterError(
            f"no Ray head answers at {address!r} ({error}). Check RAY_ADDRESS or address=, "
            "or name no cluster to start the embedded one"
        ) from error
