"""The embedded cluster: one local Ray node of this process that hosts every tier.

It carries the label `edgesplit=embedded`, by which a second session recognises it.
"""

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

import psutil
import ray
from ray._private import services, worker

from edgesplit.cluster.ray.entrypoint import text_entrypoint
from edgesplit.cluster.ray.environment import OUTLIVE_HEAD, Before, environment
from edgesplit.cluster.ray.own_folder import OwnFolder, remove_stale
from edgesplit.errors import ClusterError

NAMESPACE = "edgesplit"
EMBEDDED = {"edgesplit": "embedded"}
_OBJECT_STORE_BYTES = 2 << 30  # VGG-16's weights are 0.55 GB and pass through it once
_QUICK_S = 10.0  # what fails sooner fails for other reasons than that the machine is busy
_LOOK_S = 0.2
_LATE_S = 30.0  # that a start may take to notice that its time is over
_END_S = 10.0  # that Ray's processes may take to end
# Workers at nice 0, not 15, for latency; none started ahead that no actor will use.
_SETTINGS = {"RAY_worker_niceness": "0", "RAY_prestart_worker_first_driver": "0", **OUTLIVE_HEAD}


class EmbeddedCluster:
    """The one of this process, if it has one. start() and stop() by one thread at a time."""

    def __init__(self) -> None:
        self._running: _Run | None = None

    def start(self, timeout_s: float) -> None:
        """Start it and join it, within that time or a little more. Raises ClusterError.

        Whatever ends the waiting, such as Ctrl-C, ends the start as well.
        """
        if self._running is not None:  # one that was given up on and is still ending
            self._running.end()
        self._running = run = _Run(timeout_s)
        try:
            run.start()
            run.wait()
        except BaseException:
            run.end()
            raise

    def stop(self) -> None:
        """End it, with all that belongs to it; nothing where there is none, or in a fork."""
        run, self._running = self._running, None
        if run is not None and run.pid == os.getpid():
            run.end()


class _Run(threading.Thread):
    """An embedded cluster from start to end, in a thread of its own that stays as long as it does.

    Linux ends Ray's processes with the thread that has started them. And a signal handler's
    exception, which may come at any moment in the main thread, never hits a start halfway.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__(name="edgesplit-embedded", daemon=True)
        self.pid = os.getpid()
        self._timeout_s = timeout_s
        self._has_started: Future[None] = Future()
        self._over = threading.Event()

    def wait(self) -> None:
        """Until it has started. Raises ClusterError."""
        try:
            self._has_started.result(self._timeout_s + _LATE_S)
        except TimeoutError as error:
            raise _start_error(error, self._timeout_s + _LATE_S) from error

    def end(self) -> None:
        """End it, at whatever stage; returns when nothing is left of it. Raises ClusterError.

        Ray waits without a limit for a head that has died while it started.
        """
        self._over.set()
        if self.ident is not None:
            self.join(self._timeout_s + _LATE_S)
        if self.is_alive():
            raise ClusterError("Ray hangs in its start or end; only a new process can start it")

    def run(self) -> None:
        before = Before()
        try:
            folder = self._start(before)
        except BaseException as error:  # told to the waiting threads
            before.restore()
            self._has_started.set_exception(error)
            return
        node = worker.global_worker.node
        self._has_started.set_result(None)
        self._over.wait()
        if worker.global_worker.node is node:
            ray.shutdown()
        _end_processes(folder)
        folder.remove()
        before.restore()

    def _start(self, before: Before) -> OwnFolder:
        """The folder of the one that has started, at the first try or at a later one."""
        remove_stale()
        logging.getLogger("ray").setLevel(logging.ERROR)
        began_s = time.monotonic()
        until_s = began_s + self._timeout_s
        while True:
            tried_s = time.monotonic()
            folder = OwnFolder()
            try:
                with before.own_cluster(_settings(self._timeout_s)), self._seen_to(until_s):
                    _init(folder)
                return folder
            except BaseException as error:  # of Ray's, many kinds
                _undo(folder)
                now_s = time.monotonic()
                if now_s - tried_s < _QUICK_S or now_s > until_s or self._over.is_set():
                    raise _start_error(error, now_s - began_s) from error

    @contextlib.contextmanager
    def _seen_to(self, until_s: float) -> Iterator[None]:
        """While Ray starts: what no setting of Ray's changes.

        A node has 30 s to be known to its head. Ray asks for it by get_node(), whose error it takes
        for a "not yet". And its processes are in this one's group, so that they would get a SIGTERM
        that is sent to all of that, and end before this process has been able to end them.
        """
        get_node, popen = services.get_node, services.ConsolePopen

        def wait_for_node(*args: Any) -> Any:
            while True:
                try:
                    return get_node(*args)
                except RuntimeError:
                    if time.monotonic() > until_s or self._over.wait(_LOOK_S):
                        raise

        services.get_node = wait_for_node
        services.ConsolePopen = partial(popen, process_group=0)
        try:
            yield
        finally:
            services.get_node, services.ConsolePopen = get_node, popen


def _init(folder: OwnFolder) -> None:
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
        _temp_dir=str(folder.ray),
        _node_ip_address="127.0.0.1",
    )
    use_no_hook()


def _settings(timeout_s: float) -> dict[str, str]:
    """How long Ray's processes wait for each other while they start: as long as we do."""
    seconds = str(max(30, int(timeout_s)))
    return {
        **_SETTINGS,
        "RAY_gcs_server_port_wait_time_s": seconds,
        "RAY_gcs_rpc_server_connect_timeout_s": seconds,
        "RAY_py_gcs_connect_timeout_s": seconds,
        "RAY_raylet_start_wait_time_s": seconds,
        "RAY_worker_register_timeout_seconds": seconds,
        "RAY_agent_register_timeout_ms": f"{seconds}000",
        "RAY_raylet_client_num_connect_attempts": seconds,
    }


def _start_error(error: BaseException, waited_s: float) -> ClusterError:
    load = os.getloadavg()[0]
    reason = " ".join(str(error).split()) or "no answer"
    return ClusterError(
        f"cannot start a local Ray, tried for {waited_s:.0f} s: {reason}. The machine's load is "
        f"{load:.1f} on {os.cpu_count()} cores: where it is busy, Config(start_timeout_s=...) "
        "allows more time; else `edgesplit doctor` names what is missing"
    )


def _undo(folder: OwnFolder) -> None:
    """What is left of a start that failed, of which Ray itself forgets its processes."""
    with contextlib.suppress(Exception):
        ray.shutdown()
    _end_processes(folder)
    folder.remove()


def _end_processes(folder: OwnFolder) -> None:
    """End Ray's processes of that folder which are still there; returns when they are gone."""
    mine = [child for child in psutil.Process().children() if _is_of(child, folder)]
    left = [child for one in mine for child in (one, *_children(one))]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=_END_S)


def _is_of(process: psutil.Process, folder: OwnFolder) -> bool:
    try:
        return any(str(folder.ray) in word for word in process.cmdline())
    except psutil.Error:
        return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


@contextlib.contextmanager
def outliving_head() -> Iterator[None]:
    """Join a cluster within it, so that the program does not depend on the head from then on."""
    with environment(OUTLIVE_HEAD), text_entrypoint():
        yield
    use_no_hook()


def use_no_hook() -> None:
    """Ray's hook tells the head of an error that ends the program, and waits for a lost one."""
    if sys.excepthook is worker.custom_excepthook:
        sys.excepthook = worker.normal_excepthook


EMBEDDED_CLUSTER = EmbeddedCluster()  # the process's, as Ray's connection is
# Registered before any session is, so that sessions which nobody closed end before it.
atexit.register(EMBEDDED_CLUSTER.stop)
