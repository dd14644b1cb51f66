"""What a cluster's head says of itself: its versions and its clock; which cluster it is head of.

It is asked by a process of its own, which is this module run as a program: Ray's client may wait
for minutes where no timeout reaches, and keeps the first token it has read.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._common.usage.usage_lib import get_cluster_metadata
from ray._private.services import find_node_ids
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # not in Ray's stubs
from ray.exceptions import AuthenticationError, RayError

from edgesplit.cluster.ray.named import reach
from edgesplit.deploy.host_checks import HeadFacts
from edgesplit.deploy.node_files import read_token
from edgesplit.errors import ClusterError

_CALL_TIMEOUT_S = 10.0
_LOOK_S = 0.1
_WHICH = "which"  # of a cluster is asked for, beside the address
_ALIVE = 0  # of Ray's GcsNodeInfo
_ON_HEAD = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
_TOKEN_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def head_facts(address: str, timeout_s: float, token_file: Path | str | None = None) -> HeadFacts:
    """Ask the head at `address` (host:port), for `timeout_s` at most and some 5 s to reach it.

    token_file: None: the token that the environment names. The clock is measured by a task on the
    head, so a Ray node must run on this host; without one the versions come back alone. Raises
    ClusterError where nothing or nothing usable answers, ConfigError where the file has no token.
    """
    if token_file is not None:
        read_token(Path(token_file))  # Ray's client would end its process without a word
    reach(address)
    answers = _ask(address, timeout_s, token_file)
    if "ray_version" not in answers:
        raise ClusterError(f"the head at {address} {answers['problem']}")
    return HeadFacts(**{"clock_note": f"no answer within {timeout_s:g} s", **answers})


@dataclass(frozen=True)
class ClusterHere:
    """A cluster as its head has it. nodes: the living ones. has_node_here: one is on this host."""

    cluster_id: str
    nodes: frozenset[str]
    tiers: tuple[str, ...]
    has_node_here: bool


def cluster_here(address: str, timeout_s: float, stopped: threading.Event) -> ClusterHere:
    """Which cluster the head at `address` (host:port) has now. Raises ClusterError.

    stopped: once it is set nothing is waited for. Uses the token that the environment names.
    """
    command = [sys.executable, "-m", "edgesplit.cluster.ray.head_probe", address, _WHICH]
    until_s = time.monotonic() + timeout_s
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as asked:
        while asked.poll() is None and not stopped.wait(_LOOK_S) and time.monotonic() < until_s:
            pass
        asked.kill()
        said, _ = asked.communicate()
    answers = _answers(said, f"did not answer within {timeout_s:g} s")
    if "cluster_id" not in answers:
        raise ClusterError(f"the head at {address} {answers['problem']}")
    nodes, tiers = frozenset(answers["nodes"]), tuple(answers["tiers"])
    return ClusterHere(answers["cluster_id"], nodes, tiers, answers["has_node_here"])


def _ask(address: str, timeout_s: float, token_file: Path | str | None) -> dict[str, Any]:
    """All that the process says in time; `problem` where it says nothing."""
    environment = dict(os.environ)
    if token_file is not None:
        environment = {k: v for k, v in environment.items() if k not in _TOKEN_VARIABLES}
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file)}
    command = [sys.executable, "-m", "edgesplit.cluster.ray.head_probe", address]
    problem = f"did not answer within {timeout_s:g} s"
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=timeout_s)
        said = done.stdout
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            problem = f"could not be asked: {' '.join(last)}"
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
    answers = _answers(said, problem)
    if "ray_version" in answers:
        del answers["problem"]
    return answers


def _answers(said: bytes, problem: str) -> dict[str, Any]:
    """What the process has said, over `problem`, which holds where it says nothing."""
    answers: dict[str, Any] = {"problem": problem}
    for line in said.decode(errors="replace").splitlines():
        answers |= json.loads(line) if line.startswith("{") else {}
    return answers


# In the process that asks


def main(address: str, which: str = "") -> None:
    """Print what is found out, one JSON object per line, as soon as it is known."""
    try:
        gcs = GcsClient(address=address)
        nodes = gcs.get_all_node_info(timeout=_CALL_TIMEOUT_S)
        if which == _WHICH:
            _say_which(gcs, nodes)
            return
        metadata = get_cluster_metadata(gcs)
    except AuthenticationError:
        _say(problem="refuses this host's token")
        return
    except RayError as error:
        _say(problem=f"does not answer as Ray's: {' '.join(str(error).split())[:150]}")
        return
    _say(ray_version=metadata["ray_version"], python_version=metadata["python_version"])
    if metadata["ray_version"] != ray.__version__:
        _say(clock_note="its Ray would not let this one in")
    elif not find_node_ids() & {node_id.hex() for node_id in nodes}:
        _say(clock_note="this host has not joined: `ray up`, or `systemctl start edgesplit-node`")
    else:
        _measure_clock(address)


def _say_which(gcs: Any, nodes: Mapping[Any, Any]) -> None:
    alive = {node_id.hex(): node for node_id, node in nodes.items() if node.state == _ALIVE}
    tiers = {node.labels["tier"] for node in alive.values() if "tier" in node.labels}
    _say(
        cluster_id=gcs.cluster_id.hex(),
        nodes=sorted(alive),
        tiers=sorted(tiers),
        has_node_here=bool(find_node_ids() & set(alive)),
    )


def _measure_clock(address: str) -> None:
    """The head's clock in the middle of a round trip; the first trip starts the process there."""
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level="error", configure_logging=False
        )
        clock = ray.remote(_now).options(**_ON_HEAD)
        ray.get(clock.remote(), timeout=_CALL_TIMEOUT_S)
        sent_s, begun_s = time.time(), time.monotonic()
        there_s = ray.get(clock.remote(), timeout=_CALL_TIMEOUT_S)
        half_s = (time.monotonic() - begun_s) / 2
    except (RayError, RuntimeError, ConnectionError, ValueError, OSError) as error:
        _say(clock_note=" ".join(str(error).split())[:150])
        return
    _say(clock_offset_s=there_s - sent_s - half_s, clock_resolution_s=half_s, clock_note="")


def _now() -> float:
    return time.time()


def _say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
