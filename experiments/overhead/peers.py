"""What EdgeSplit is compared with: its segments as plain Ray calls, its bytes on plain TCP.

Three plain actors, with the same allocator settings, nice level and thread count as EdgeSplit's.
"""

import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch

from edgesplit import ALLOCATOR_ENV, Plan
from edgesplit.node.program.export.model import ExportedModel
from edgesplit.node.program.packed import PackedProgram
from edgesplit.node.program.shipping import pack, unpack

_TIMEOUT_S = 120.0
Address = tuple[str, int]


@dataclass(frozen=True)
class Sizes:
    """Bytes that one stage takes in, sends on (None: it is the last) and answers."""

    taken: int
    sent: int | None
    answered: int


class PlainActor:
    """Runs segments for Ray calls and passes bytes over TCP; no EdgeSplit data plane."""

    def __init__(self, packed: PackedProgram) -> None:
        torch.set_num_threads(1)
        self._program = unpack(packed)
        self._listener = socket.create_server((ray.util.get_node_ip_address(), 0))
        self._onward: socket.socket | None = None

    def run(self, start: int, stop: int, values: list[Any]) -> list[Any]:
        """One segment; Ray moves the values."""
        torch.set_num_threads(1)
        return self._program.segment(start, stop)(values)

    def address(self) -> Address:
        """Where this stage listens for plain TCP."""
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def relay(self, sizes: Sizes, onward: Address | None) -> None:
        """Serve one upstream connection in a thread until it closes."""
        self._onward = _connect(onward) if onward is not None else None
        threading.Thread(target=self._serve, args=(sizes,), daemon=True).start()

    def _serve(self, sizes: Sizes) -> None:
        upstream, _ = self._listener.accept()
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        taken, answer = bytearray(sizes.taken), bytearray(sizes.answered)
        payload = bytes(sizes.sent or 0)
        while _receive(upstream, taken):
            if self._onward is not None:
                self._onward.sendall(payload)
                _receive(self._onward, answer)
            upstream.sendall(answer)
        upstream.close()
        if self._onward is not None:
            self._onward.close()


class Peers:
    """Three plain actors on the running Ray; stop() ends them.

    is_one_node: all on the one node there is; else each on the node labelled with its tier.
    """

    def __init__(self, exported: ExportedModel, tiers: Sequence[str], is_one_node: bool) -> None:
        packed = ray.put(pack(exported.program))
        options = {"num_cpus": 0, "max_concurrency": 4, "runtime_env": {"env_vars": ALLOCATOR_ENV}}
        self._actors = {
            tier: ray.remote(PlainActor)
            .options(**options, label_selector={} if is_one_node else {"tier": tier})
            .remote(packed)
            for tier in tiers
        }

    def ray_s(self, plan: Plan, values: list[Any]) -> float:
        """Seconds of one request as chained Ray calls that pass object refs."""
        start_s = time.perf_counter()
        ref: Any = values
        for stage in plan.stages:
            ref = self._actors[stage.tier].run.remote(stage.start, stage.stop, ref)
        ray.get(ref, timeout=_TIMEOUT_S)
        return time.perf_counter() - start_s

    def open_tcp(self, plan: Plan, payload_bytes: Sequence[int]) -> "TcpChain":
        """A chain of plain TCP connections through the tiers of the plan."""
        onward: Address | None = None
        cuts = [0, *plan.cuts]
        for index in reversed(range(len(plan.stages))):
            actor = self._actors[plan.stages[index].tier]
            is_last = index + 1 == len(plan.stages)
            sent = None if is_last else payload_bytes[cuts[index + 1]]
            sizes = Sizes(payload_bytes[cuts[index]], sent, payload_bytes[-1])
            ray.get(actor.relay.remote(sizes, onward), timeout=_TIMEOUT_S)
            onward = ray.get(actor.address.remote(), timeout=_TIMEOUT_S)
        assert onward is not None
        return TcpChain(onward, payload_bytes[0], payload_bytes[-1])

    def stop(self) -> None:
        """End the actors."""
        for actor in self._actors.values():
            ray.kill(actor)


class TcpChain:
    """The caller's end of a chain."""

    def __init__(self, first: Address, sent: int, answered: int) -> None:
        self._socket = _connect(first)
        self._payload, self._answer = bytes(sent), bytearray(answered)

    def round_trip_s(self) -> float:
        """Seconds for the input to go in, the payloads to go on and the answer to come back."""
        start_s = time.perf_counter()
        self._socket.sendall(self._payload)
        _receive(self._socket, self._answer)
        return time.perf_counter() - start_s

    def close(self) -> None:
        """Close the chain; the actors' threads end."""
        self._socket.close()


def _connect(address: Address) -> socket.socket:
    connection = socket.create_connection(address, timeout=_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _receive(connection: socket.socket, into: bytearray) -> bool:
    """Fill `into`; False once the other side has closed."""
    view = memoryview(into)
    while view:
        count = connection.recv_into(view)
        if not count:
            return False
        view = view[count:]
    return True
