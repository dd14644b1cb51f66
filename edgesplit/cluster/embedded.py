"""The embedded cluster: one local Ray node of this process that hosts every tier.

It carries the label `edgesplit=embedded`, by which a second session recognises it.
"""

import atexit
import contextlib
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import ray
from ray._private import worker
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

from edgesplit.errors import ClusterError

NAMESPACE = "edgesplit"
EMBEDDED = {"edgesplit": "embedded"}
_PREFIX = "es-"  # of the folder that an embedded cluster keeps everything in
# Ray ends the user's program when the head has been away for a minute. Requests need no head.
_OUTLIVE_HEAD = {"RAY_gcs_rpc_server_reconnect_timeout_s": "1000000"}
_LOOK_S = 1.0  # between two looks whether the cluster is still this one
# In the folder: the process that started Ray there and will end it, and what it then takes back.
_OWNER = "edgesplit-owner"
_TOKEN, _MODE = "RAY_AUTH_TOKEN", "RAY_AUTH_MODE"
_RAY_SOCKET = "/es-12345678/session_2026-01-01_00-00-00_123456_1234567/sockets/plasma_store"
_LONGEST_TEMP = 107 - len(_RAY_SOCKET)  # what Linux allows the path of a Unix socket
_OBJECT_STORE_BYTES = 2 << 30  # VGG-16's weights are 0.55 GB and pass through it once


def start_embedded() -> None:
    """Start it and join it. Raises ClusterError."""
    if threading.current_thread() is threading.main_thread():
        _start()
        return
    # Linux ends Ray's processes with the thread that started them, so not with the calling one.
    started: Future[None] = Future()
    threading.Thread(
        target=_start_and_stay, args=(started,), name="edgesplit-embedded", daemon=True
    ).start()
    started.result()


def _start_and_stay(started: "Future[None]") -> None:
    try:
        _start()
    except BaseException as error:  # whoever waits is told
        started.set_exception(error)
        return
    node = worker.global_worker.node
    started.set_result(None)
    while worker.global_worker.node is node:
        time.sleep(_LOOK_S)


def _start() -> None:
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_temp_parent()))
    unset = [name for name in (_TOKEN, _MODE) if name not in os.environ]
    _authenticate()
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Workers at nice 0, not 15, for latency; none started ahead that no actor will use.
    settings = {"RAY_worker_niceness": "0", "RAY_prestart_worker_first_driver": "0"}
    with environment(settings), outliving_head():
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
                labels=EMBEDDED,
                _temp_dir=str(folder),
                _node_ip_address="127.0.0.1",
            )
        except Exception as error:
            _remove(folder, unset)
            raise ClusterError(
                f"cannot start a local Ray: {error}. `edgesplit doctor` names what is missing"
            ) from error
    (folder / _OWNER).write_text(json.dumps({"pid": os.getpid(), "unset": unset}))


def _authenticate() -> None:
    """Give Ray a token of this process before it makes one in the user's home.

    Ray listens on all addresses.
    """
    if os.environ.get(_MODE, "token") == "token":
        os.environ.setdefault(_TOKEN, secrets.token_hex(16))


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
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


@contextlib.contextmanager
def outliving_head() -> Iterator[None]:
    """Join a cluster within it, so that the program does not depend on the head from then on."""
    with environment(_OUTLIVE_HEAD):
        yield
    # Ray's hook tells the head of an error that ends the program, and waits for a lost one.
    if sys.excepthook is worker.custom_excepthook:
        sys.excepthook = worker.normal_excepthook


def stop_embedded() -> None:
    """Leave the embedded cluster; stop it and remove its folder if this process started it."""
    if not ray.is_initialized():
        return
    # Not asked of Ray, which waits for a head that is lost.
    folder = Path(worker.global_worker.node.get_temp_dir_path())
    if not folder.name.startswith(_PREFIX):
        return  # some other cluster, which is not ours to leave
    file = folder / _OWNER
    ray.shutdown()
    owner = json.loads(file.read_text()) if file.exists() else {}
    if owner.get("pid") == os.getpid():
        _remove(folder, owner["unset"])


def _remove(folder: Path, variables: list[str]) -> None:
    """Leave no file, and no token: child processes and Ray's next cluster would use it."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in variables:
        os.environ.pop(name, None)
    # In this order: a thread of Ray's that is still ending must not look for the token again.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


# Registered before any session is, so that sessions which nobody closed end before it.
atexit.register(stop_embedded)


def _temp_parent() -> Path:
    """The temp folder, or /tmp where that is too long for the Unix sockets Ray makes below it."""
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= _LONGEST_TEMP else Path("/tmp")
