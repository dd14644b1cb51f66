"""Where things run: join a named Ray cluster, or start the embedded one on this machine.

A tier is a node's label `tier=NAME`. The embedded cluster is one unlabelled node that hosts every
tier; it carries the label `edgesplit=embedded`, by which a second session recognises it.
"""

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util import list_named_actors

from edgesplit.errors import ClusterError

NAMESPACE = "edgesplit"
_EMBEDDED = {"edgesplit": "embedded"}
_FOLDER_LABEL = "edgesplit-folder"
_OWNER = "edgesplit-owner"  # in the folder: the process that started Ray there and will end it
_REACH_TIMEOUT_S = 5.0
_RAY_SOCKET = "/es-12345678/session_2026-01-01_00-00-00_123456_1234567/sockets/plasma_store"
_LONGEST_TEMP = 107 - len(_RAY_SOCKET)  # what Linux allows the path of a Unix socket
_OBJECT_STORE_BYTES = 2 << 30  # VGG-16's weights are 0.55 GB and pass through it once

# glibc gives freed tensors back to the kernel and page-faults them in again: MobileNetV2 spends
# half its time there. These keep the memory. Set for every process that computes.
ALLOCATOR_ENV = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(2 << 30),
    "MALLOC_TOP_PAD_": str(1 << 28),
    "MALLOC_ARENA_MAX": "1",
}


@dataclass(frozen=True)
class Placement:
    """A cluster that this process is connected to.

    is_embedded: one machine plays all tiers. is_ours: this placement connected the process.
    """

    address: str
    tiers: tuple[str, ...]
    is_embedded: bool
    is_ours: bool

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


def connect(address: str | None, tiers: Sequence[str]) -> Placement:
    """Join the cluster that `address`, RAY_ADDRESS or this process names; else start the embedded.

    Raises ClusterError where it cannot be reached or lacks a node for one of `tiers`.
    """
    named = address or os.environ.get("RAY_ADDRESS")
    is_ours = not ray.is_initialized()
    if is_ours and named:
        _join(named)
    elif is_ours:
        _start_embedded()
    labels = [node["Labels"] for node in ray.nodes() if node["Alive"]]
    is_embedded = any(_EMBEDDED.items() <= found.items() for found in labels)
    where = ray.get_runtime_context().gcs_address
    if not is_embedded:
        try:
            _require(tiers, labels, where)
        except ClusterError:
            if is_ours:
                ray.shutdown()
            raise
    return Placement(where, tuple(tiers), is_embedded, is_ours)


def disconnect(placement: Placement) -> None:
    """Leave the cluster if nothing of EdgeSplit uses it any more; stop it if it is embedded."""
    if not ray.is_initialized():
        return
    if placement.is_embedded:
        if not list_named_actors(all_namespaces=True):
            _stop_embedded()
    elif placement.is_ours:
        ray.shutdown()


def _require(tiers: Sequence[str], labels: list[dict[str, str]], where: str) -> None:
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
    _reach(address)
    try:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level="error",
            configure_logging=False,
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ClusterError(
            f"cannot join the Ray cluster at {address!r}: {reason}. Check the address "
            "(host:port of the head), that Ray runs there in the same version, and RAY_AUTH_TOKEN"
        ) from error


def _reach(address: str) -> None:
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


def _start_embedded() -> None:
    folder = Path(tempfile.mkdtemp(prefix="es-", dir=_temp_parent()))
    _authenticate()
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Workers at nice 0, not 15, for latency; none started ahead that no actor will use.
    with _environment({"RAY_worker_niceness": "0", "RAY_prestart_worker_first_driver": "0"}):
        try:
            ray.init(
                address="local",
                namespace=NAMESPACE,
                num_cpus=max(4, os.cpu_count() or 1),
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                configure_logging=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                labels={**_EMBEDDED, _FOLDER_LABEL: folder.name},
                _temp_dir=str(folder),
                _node_ip_address="127.0.0.1",
            )
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise ClusterError(
                f"cannot start a local Ray: {error}. `edgesplit doctor` names what is missing"
            ) from error
    (folder / _OWNER).write_text(str(os.getpid()))


def _authenticate() -> None:
    """Give Ray a token of this process before it makes one in the user's home.

    Ray listens on all addresses. It reads the token once and keeps it, so it stays set.
    """
    if os.environ.get("RAY_AUTH_MODE", "token") == "token":
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
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


def _stop_embedded() -> None:
    """Leave the embedded cluster; stop it and remove its folder if this process started it."""
    if not ray.is_initialized():
        return
    names = [node["Labels"].get(_FOLDER_LABEL) for node in ray.nodes()]
    folders = [_temp_parent() / name for name in names if name]
    if not folders:
        return  # some other cluster, which is not ours to leave
    ray.shutdown()
    for folder in folders:
        owner = folder / _OWNER
        if owner.exists() and owner.read_text() == str(os.getpid()):
            shutil.rmtree(folder, ignore_errors=True)


# Registered before any session is, so that sessions which nobody closed end before it.
atexit.register(_stop_embedded)


def _temp_parent() -> Path:
    """The temp folder, or /tmp where that is too long for the Unix sockets Ray makes below it."""
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= _LONGEST_TEMP else Path("/tmp")
