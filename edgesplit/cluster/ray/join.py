"""Brings this process into a Ray cluster and out of it: a named one, or the embedded one.

A host set up by `edgesplit node init` names its cluster in its node file.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import ray
from ray._private import worker
from ray.exceptions import RayError
from ray.util import list_named_actors

from edgesplit.cluster.ray.connection import RAY_CONNECTIONS, RayConnection
from edgesplit.cluster.ray.embedded import EMBEDDED_CLUSTER, NAMESPACE
from edgesplit.cluster.ray.environment import Before
from edgesplit.cluster.ray.fork import FORKS
from edgesplit.cluster.ray.named import AUTO, LOCAL, cluster_of_host, is_same, named_cluster, reach
from edgesplit.cluster.ray.placement import SCHEDULER, Placement, placement_of
from edgesplit.cluster.ray.ray_init import join_at, take_token
from edgesplit.deploy.node_env import read_node_env
from edgesplit.deploy.ports import GCS_PORT
from edgesplit.errors import ClusterError

START_TIMEOUT_S = 120.0
_SESSIONS_TIMEOUT_S = 5.0
_END_TIMEOUT_S = 30.0  # for calls under way to come back when a connection is to end


def connect(
    address: str | None, tiers: Sequence[str], start_timeout_s: float = START_TIMEOUT_S
) -> Placement:
    """Join the cluster that `address`, RAY_ADDRESS, this process or this host's node file names.

    Where none is named, and for LOCAL, it is the embedded one, which is started; where this process
    is in another cluster already, LOCAL emulates the tiers on its node there. Raises ClusterError
    where it cannot be reached, lacks a node for one of `tiers`, or is not the one that this process
    is in.
    """
    FORKS.check()
    with RAY_CONNECTIONS.lock:
        named, before = named_cluster(address), Before()
        is_ours = not ray.is_initialized()
        is_own_cluster = is_ours and (named == LOCAL or not (named or cluster_of_host()))
        if is_own_cluster:
            EMBEDDED_CLUSTER.start(start_timeout_s)
        else:
            join(address)
        connection = RAY_CONNECTIONS.acquire(is_ours, is_own_cluster, before)
        try:
            placement = placement_of(connection, tiers, named == LOCAL)
        except BaseException:
            _let_go(connection)
            raise
        return placement


def connect_again(placement: Placement) -> Placement:
    """Leave a cluster whose head is lost for the one that is there now.

    That is the cluster at the same address, with nodes for some of the tiers at least; a new
    embedded one in place of an embedded one of this process. Raises ClusterError, and then the
    process may be in no cluster.
    """
    with RAY_CONNECTIONS.lock:
        connection = placement.connection
        has_moved = ray.is_initialized() and not connection.is_current
        if not (connection.is_ours or has_moved):
            raise ClusterError(
                f"the head of the Ray cluster at {connection.address} was lost, and this "
                "program has joined it by itself: call ray.shutdown() and ray.init() again"
            )
        if connection.is_current:  # else another session has been here already
            connection.end(_END_TIMEOUT_S)
            _leave(connection)
        if not ray.is_initialized() and connection.is_own_cluster:
            EMBEDDED_CLUSTER.start(START_TIMEOUT_S)
        elif not ray.is_initialized():
            join_at(connection.address)
        is_ours = connection.is_ours and not has_moved
        again = RAY_CONNECTIONS.acquire(
            is_ours, is_ours and connection.is_own_cluster, connection.variables
        )
        try:
            made = placement_of(again, placement.tiers, placement.is_embedded, is_new=False)
        except BaseException:
            _let_go(again)
            raise
        return replace(made, nodes={**placement.nodes, **made.nodes})


def join(address: str | None) -> str:
    """Join the cluster that `address`, RAY_ADDRESS or this host's node file names; its address.

    Does nothing where this process is in that one already, or in any and none is named by the
    first two. Raises ClusterError where it is in another one, none is named, or it cannot be
    joined.
    """
    named = named_cluster(address)
    if ray.is_initialized():
        _refuse_another(named)
        return _own_address()
    named = named or cluster_of_host()
    if named is None or named == LOCAL:
        raise ClusterError(
            f"no cluster is named (given {named!r}): give --address HOST:PORT, set RAY_ADDRESS, or "
            "set this host up with `edgesplit node init`"
        )
    env = read_node_env()
    if env is not None and (named == AUTO or is_same(named, f"{env.head_ip}:{GCS_PORT}")):
        take_token(env)
    join_at(named)
    return _own_address()


def _own_address() -> str:
    """Of the cluster that this process is in. Raises ClusterError behind Ray's client."""
    if worker.global_worker.node is None:
        raise ClusterError(
            "this process is connected through Ray's client (ray://), through which no payloads "
            "can be sent: call ray.shutdown(), and run it on a node of the cluster"
        )
    return str(ray.get_runtime_context().gcs_address)


def _refuse_another(named: str | None) -> None:
    """Raise ClusterError where a cluster is named that is not the one this process is in."""
    own = _own_address()
    if named in (None, LOCAL, AUTO) or is_same(str(named), own):
        return
    connection = RAY_CONNECTIONS.current
    if connection is None or connection.is_closed or not connection.is_ours:
        whose, way = "which it has joined by itself", "call ray.shutdown() first"
    else:
        kind = "the embedded one" if connection.is_own_cluster else "joined"
        whose = f"{kind}, with {connection.sessions} open EdgeSplit"
        way = "close() those first"
    raise ClusterError(
        f"the cluster at {named!r} is asked for (by address= or RAY_ADDRESS), but this process is "
        f"in the Ray cluster at {own} ({whose}), and can be in one only: {way}, or name no other "
        "address"
    )


def disconnect(placement: Placement) -> None:
    """Leave the cluster if nothing of EdgeSplit uses it any more; stop it if it is embedded."""
    with RAY_CONNECTIONS.lock:
        _let_go(placement.connection)


def _let_go(connection: RayConnection) -> None:
    is_last = RAY_CONNECTIONS.release(connection)
    if is_last and connection.is_ours and not _is_used_by_others(connection):
        with contextlib.suppress(ClusterError):  # a call that hangs must not keep the cluster
            connection.end(_END_TIMEOUT_S)  # else a call under way would start another one
        _leave(connection)


def _leave(connection: RayConnection) -> None:
    if connection.is_own_cluster:
        EMBEDDED_CLUSTER.stop()
    else:
        ray.shutdown()
        connection.variables.restore()


def _is_used_by_others(connection: RayConnection) -> bool:
    """Whether another process uses our embedded cluster; without its head, none does.

    The actors of EdgeSplit are there until the cluster ends: they know whose sessions are open.
    """
    if not connection.is_own_cluster:
        return False
    try:
        reach(connection.address)
    except ClusterError:
        return False
    names = {(one["namespace"], one["name"]) for one in list_named_actors(all_namespaces=True)}
    if any(namespace != NAMESPACE for namespace, _ in names):
        return True
    return (NAMESPACE, SCHEDULER) in names and bool(_open_sessions())


def _open_sessions() -> Sequence[str]:
    try:
        actor = ray.get_actor(SCHEDULER, namespace=NAMESPACE)
        found: Sequence[str] = ray.get(actor.sessions.remote(), timeout=_SESSIONS_TIMEOUT_S)
    except (ValueError, RayError, TimeoutError):  # it has ended, or will not answer
        return ()
    return found
