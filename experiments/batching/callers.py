"""Callers of one tier that all have the same model: each its own session, over real sockets.

The tier is a process of its own, without Ray. It has the model twice: for sessions whose requests
run one by one, and for sessions whose requests may share a run. The two take turns, a round each.
"""

import contextlib
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Any

import torch

from edgesplit.core.power import Power
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.tier.host import TierHost
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.transport import tensors, wire
from edgesplit.node.transport.client import Client
from edgesplit.node.transport.security import Credentials, new_credentials
from experiments.batching.one_process import queues
from experiments.runtimes.bench import SIDE
from experiments.shared.report import Row

CALLERS = 16
_TIMEOUT_S, _START_S = 120.0, 600.0
_WAYS = ("one by one", "batched")
_PROGRAM = "the model"


@dataclass(frozen=True)
class Served:
    """A host that serves: its address, its sessions, the last layer of the model."""

    address: str
    credentials: Sequence[Credentials]
    n_layers: int


@dataclass(frozen=True)
class Round:
    """What came of a round: requests per second, and the seconds of each request."""

    per_s: float
    latencies_s: Sequence[float]


def callers_rows(model: str, runtime: str, rounds: int, seconds: float) -> Iterator[Row]:
    """One row: requests per second of all callers together, one by one and batched."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(model, runtime, there), daemon=True)
    process.start()
    try:
        if not here.poll(_START_S):
            raise TimeoutError(f"{model} was not ready to be served within {_START_S:g} s")
        served: dict[str, Served] = here.recv()
        found: dict[str, list[Round]] = {way: [] for way in _WAYS}
        for way in _WAYS:  # the first requests prepare what they need
            _round(served[way], runtime, seconds / 2)
        for number in range(rounds):
            for way in _WAYS if number % 2 else reversed(_WAYS):
                found[way].append(_round(served[way], runtime, seconds))
        alone, batched = (found[way] for way in _WAYS)
        yield {
            "model": model,
            "runtime": runtime,
            "callers": CALLERS,
            "alone_per_s": statistics.median(one.per_s for one in alone),
            "batched_per_s": statistics.median(one.per_s for one in batched),
            "gain": statistics.median(
                b.per_s / a.per_s for a, b in zip(alone, batched, strict=True)
            ),
            "alone_p99_s": _p99(alone),
            "batched_p99_s": _p99(batched),
        }
    finally:
        process.kill()
        process.join()


def _p99(rounds: Sequence[Round]) -> float:
    return statistics.quantiles([s for one in rounds for s in one.latencies_s], n=100)[98]


def _round(served: Served, runtime: str, seconds: float) -> Round:
    """All callers ask at once, each again when it has its answer."""
    until_s = time.perf_counter() + seconds
    taken: list[float] = []
    threads = [
        threading.Thread(target=_call, args=(served, credentials, runtime, until_s, taken))
        for credentials in served.credentials
    ]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + _TIMEOUT_S)
    return Round(len(taken) / (time.perf_counter() - began_s), taken)


def _call(
    served: Served, credentials: Credentials, runtime: str, until_s: float, taken: list[float]
) -> None:
    x = torch.rand(1, 3, SIDE, SIDE)
    specs, buffers = tensors.pack([x])
    route = [wire.Hop("edge", served.address, 0, served.n_layers, runtime)]
    client = Client(served.address, credentials=credentials)
    with contextlib.closing(client), client.channel() as channel:
        number = 0
        while (began_s := time.perf_counter()) < until_s:
            request = wire.Request(
                id=f"{credentials.session}-{number}",
                program=_PROGRAM,
                route=route,
                at=0,
                timeout_s=_TIMEOUT_S,
                values=specs,
            )
            channel.send(request, buffers)
            channel.receive(request.id, _TIMEOUT_S)
            taken.append(time.perf_counter() - began_s)
            number += 1


def _serve(model: str, runtime: str, pipe: Pipe) -> None:
    """The tier's process, until it is ended."""
    torch.set_num_threads(1)
    [queue] = queues(model, (runtime,))
    served: dict[str, Served] = {}
    hosts = [TierHost("edge") for _ in _WAYS]
    for way, host in zip(_WAYS, hosts, strict=True):
        credentials = [new_credentials(f"{n}") for n in range(CALLERS)]
        for one in credentials:
            _begin(host, queue.workload, one, is_joint=way == "batched")
        served[way] = Served(host.open(), credentials, queue.bounds[1])
    pipe.send(served)
    threading.Event().wait()


def _begin(host: TierHost, workload: Any, credentials: Credentials, is_joint: bool) -> None:
    meter = PowerModelMeter(Power(1.0, 1.0, 1.0, 1.0))
    worker = host.begin(ServeSettings("edge", credentials=credentials), meter).worker
    worker.programs[_PROGRAM] = workload
    if is_joint:
        worker.joint_sources[_PROGRAM] = workload
