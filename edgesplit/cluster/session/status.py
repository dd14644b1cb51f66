"""What a running cluster holds: nodes, EdgeSplit's sessions, their actors, plans and beliefs.

Asks Ray's control plane and the sessions' own actors, never Ray's dashboard. Every wait has a time
limit: an actor that does not answer is shown as silent.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ray
import ray.exceptions
from ray.util import list_named_actors

from edgesplit.cluster.actors.workload import WorkloadStatus
from edgesplit.cluster.ray.embedded import EMBEDDED, NAMESPACE
from edgesplit.cluster.ray.join import join
from edgesplit.cluster.ray.placement import SCHEDULER, TIER_ACTOR
from edgesplit.config import TIERS
from edgesplit.errors import ClusterError

ANSWER_TIMEOUT_S = 5.0  # for all actors together
_ON_A_NODE = (
    "Run this command on a node of the cluster, for instance `ray exec cluster.yaml "
    "'. /etc/edgesplit/node.env && \"$ES_BIN/edgesplit\" status'`"
)
_HEAD = "node:__internal_head__"  # the resource by which Ray marks the head's node
_ACTOR_NAME = re.compile(rf"{TIER_ACTOR}(.+?)(@.*)?")  # as cluster/ray/placement.py names them

# lost: Ray knows the actor no more. silent: it does, but got no answer in time.
ActorState = Literal["alive", "silent", "lost"]


@dataclass(frozen=True)
class NodeStatus:
    """One Ray node. tier, name: its labels, None where it has none. plays_all: the embedded
    cluster's.

    cpus and object_store_bytes: as Ray was told, 0 of a lost node. death_reason: Ray's words.
    """

    node_id: str
    tier: str | None
    address: str
    host: str
    is_alive: bool
    is_head: bool
    plays_all: bool
    cpus: float
    object_store_bytes: float
    death_reason: str
    name: str | None = None


@dataclass(frozen=True)
class ActorStatus:
    """One tier's actor, as a session has it. node: its address; data_address: where it takes
    payloads, HOST:PORT.

    energy: how the session's joules there are known. None: not known, since it did not answer.
    """

    tier: str
    state: ActorState
    node: str | None
    data_address: str | None
    energy: str | None


@dataclass(frozen=True)
class SessionStatus:
    """One EdgeSplit. workloads: () also where the scheduler is not alive."""

    id: str
    scheduler: ActorState
    actors: tuple[ActorStatus, ...]
    workloads: tuple[WorkloadStatus, ...]


@dataclass(frozen=True)
class ClusterStatus:
    """A cluster at one moment. address: of its GCS. nodes: without the dead that came back."""

    address: str
    ray_version: str
    nodes: tuple[NodeStatus, ...]
    sessions: tuple[SessionStatus, ...]

    @property
    def missing_tiers(self) -> tuple[str, ...]:
        """The default tiers and those of the sessions that no living node plays."""
        alive = [node for node in self.nodes if node.is_alive]
        if any(node.plays_all for node in alive):
            return ()
        wanted = [*TIERS, *(actor.tier for ses in self.sessions for actor in ses.actors)]
        there = {name for node in alive for name in (node.tier, node.name)}
        return tuple(tier for tier in dict.fromkeys(wanted) if tier not in there)


@dataclass(frozen=True)
class _Answer:
    """What one actor said of itself; value: None unless it is alive."""

    state: ActorState
    value: Any = None


_LOST = _Answer("lost")


def cluster_status(
    address: str | None = None, timeout_s: float = ANSWER_TIMEOUT_S
) -> ClusterStatus:
    """Ask the cluster that this process is in, or else that `address` or this host names.

    timeout_s: for the answers of all actors together. Raises ClusterError where no cluster can be
    asked from this machine.
    """
    with asking(address) as where:
        nodes = [_node(row) for row in ray.nodes()]
        sessions = _sessions(nodes, timeout_s)
        return ClusterStatus(where, ray.__version__, _current(nodes), sessions)


@contextlib.contextmanager
def asking(address: str | None) -> Iterator[str]:
    """In the cluster meanwhile; its address. Raises ClusterError as cluster_status()."""
    was_connected = ray.is_initialized()
    where = _join(address)
    try:
        yield where
    except ray.exceptions.RayError as error:
        raise ClusterError(f"the head at {where} does not answer any more: {error}") from error
    finally:
        if not was_connected:
            ray.shutdown()


def _join(address: str | None) -> str:
    try:
        return join(address)
    except ClusterError as error:
        raise ClusterError(f"{error}. {_ON_A_NODE}") from error


def _node(row: Mapping[str, Any]) -> NodeStatus:
    """A row of ray.nodes()."""
    labels, resources = row["Labels"], row["Resources"]
    return NodeStatus(
        node_id=row["NodeID"],
        tier=labels.get("tier"),
        address=row["NodeManagerAddress"],
        host=row["NodeManagerHostname"],
        is_alive=row["Alive"],
        is_head=_HEAD in resources,
        plays_all=EMBEDDED.items() <= labels.items(),
        cpus=resources.get("CPU", 0.0),
        object_store_bytes=resources.get("object_store_memory", 0.0),
        death_reason=row["DeathReasonMessage"],
        name=labels.get("node") or labels.get("tier"),
    )


def _current(nodes: Sequence[NodeStatus]) -> tuple[NodeStatus, ...]:
    """Ray keeps every dead node, and one that joins again is a new one to it. In order of tiers."""
    alive = [node for node in nodes if node.is_alive]
    back = {_place(node) for node in alive}
    dead = {_place(node): node for node in nodes if _place(node) not in back}
    return tuple(sorted([*alive, *dead.values()], key=_place))


def _place(node: NodeStatus) -> tuple[int, str, str]:
    rank = TIERS.index(node.tier) if node.tier in TIERS else len(TIERS)
    return rank, node.tier or "", node.address


def scheduler() -> Any | None:
    """The handle of the cluster's scheduler; None where there is none yet."""
    try:
        return ray.get_actor(SCHEDULER, namespace=NAMESPACE)
    except ValueError:
        return None


def _actor_names() -> list[str]:
    return sorted(
        named["name"] for named in list_named_actors(True) if named["namespace"] == NAMESPACE
    )


def _sessions(nodes: Sequence[NodeStatus], timeout_s: float) -> tuple[SessionStatus, ...]:
    """All that the scheduler or a tier knows."""
    names = _actor_names()
    answers = _ask(names, timeout_s)
    planned = answers.get(SCHEDULER, _LOST)
    tiers = {match[1]: answers[name] for name in names if (match := _ACTOR_NAME.fullmatch(name))}
    on_tiers = [session for one in tiers.values() if one.value for session in one.value[2]]
    where = {node.node_id: node.address for node in nodes}
    known = planned.value or {}
    return tuple(
        _session(session, planned.state, known.get(session, ({}, ())), tiers, where)
        for session in dict.fromkeys([*known, *on_tiers])
    )


def _ask(names: Sequence[str], timeout_s: float) -> dict[str, _Answer]:
    """What each actor says of itself; asked all at once."""
    calls = {}
    for name in names:
        try:
            calls[name] = ray.get_actor(name, namespace=NAMESPACE).status.remote()
        except ValueError:
            continue  # it has ended since it was listed
    if calls:
        ray.wait(list(calls.values()), num_returns=len(calls), timeout=timeout_s)
    return {name: _answer(calls[name]) if name in calls else _LOST for name in names}


def _answer(call: Any) -> _Answer:
    try:
        return _Answer("alive", ray.get(call, timeout=0))
    except (
        ray.exceptions.ActorUnavailableError,  # out of reach for now, perhaps not dead
        ray.exceptions.GetTimeoutError,
        ray.exceptions.RayTaskError,
    ):
        return _Answer("silent")
    except ray.exceptions.RayActorError:
        return _LOST


def _session(
    key: str,
    planned: ActorState,
    told: tuple[Mapping[str, str], tuple[WorkloadStatus, ...]],
    tiers: Mapping[str, _Answer],
    where: Mapping[str, str],
) -> SessionStatus:
    """told: addresses and workloads, by the scheduler. where: address per node id."""
    addresses, workloads = told
    serving = [tier for tier, one in tiers.items() if one.value and key in one.value[2]]
    usual = [tier for tier in TIERS if tier in serving]
    actors = [
        _actor(tier, key, tiers.get(tier, _LOST), addresses.get(tier), where)
        for tier in dict.fromkeys([*addresses, *usual, *serving])
    ]
    return SessionStatus(key, planned, tuple(actors), workloads)


def _actor(
    tier: str, session: str, answer: _Answer, address: str | None, where: Mapping[str, str]
) -> ActorStatus:
    """address: of the data plane, as the scheduler knows it."""
    if answer.value is None:
        return ActorStatus(tier, answer.state, None, address, None)
    node_id, own_address, metering = answer.value
    node = where.get(node_id)
    return ActorStatus(tier, answer.state, node, own_address or None, metering.get(session))
