"""What encrypting costs: one hop there and back, plain and through TLS, taking turns in one run.

    python -m experiments.transport_security --out DIR [--rounds N]

A payload goes to another process over this machine's loopback, in EdgeSplit's own frames, and a
small answer comes back; nothing is computed. Measured: seconds, and the sending thread's own CPU
seconds, which other work on the machine changes less.
"""

import multiprocessing
import socket
import threading
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import click
import numpy as np

from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.connection import CONNECT_TIMEOUT_S, Connection, connect
from edgesplit.node.transport.greeting import read_greeting
from edgesplit.node.transport.security import (
    UNSECURED,
    Credentials,
    Security,
    accepting,
    connecting,
    new_credentials,
)
from experiments.shared.out import out_option
from experiments.shared.picture import grouped_bars
from experiments.shared.report import print_rows, progress, write_rows

SIZES = {
    "4 KB": 4_000,
    "98 KB": 98_000,
    "600 KB": 600_000,
    "1.6 MB": 1_600_000,
    "3.2 MB": 3_200_000,
}
WAYS = ("plain", "tls")
LIMIT_BYTES = 1 << 28
Links = dict[str, Connection]


@click.command()
@out_option
@click.option("--rounds", type=click.IntRange(5), default=300, show_default=True, help="Per size.")
def main(out: Path, rounds: int) -> None:
    """Measure a hop with and without transport security, and the handshake.

    Writes summary.json, transport_security.csv and transport_security.png.
    """
    credentials = new_credentials()
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    peer = spawn.Process(target=serve, args=(credentials, there), daemon=True)
    peer.start()
    try:
        addresses = dict(zip(WAYS, here.recv(), strict=True))
        rows = _measure(addresses, credentials, rounds)
        handshakes = handshake_s(addresses["tls"], credentials)
    finally:
        peer.kill()
        peer.join()
    _write(out, rows, handshakes)


def serve(credentials: Credentials, pipe: Pipe) -> None:
    """The other process: a listener per way, each answering one connection after another."""
    addresses = []
    for security in (accepting(UNSECURED), accepting(credentials)):
        listener = socket.create_server(("127.0.0.1", 0))
        addresses.append(f"127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=_answer_all, args=(listener, security), daemon=True).start()
    pipe.send(addresses)
    threading.Event().wait()


def _answer_all(listener: socket.socket, security: Security) -> None:
    while True:
        accepted = listener.accept()[0]
        read_greeting(accepted, CONNECT_TIMEOUT_S)
        link = Connection(accepted, LIMIT_BYTES, arrays, security)
        try:
            link.handshake()
            while True:
                request, _ = link.receive()
                link.send(wire.Reply(id=request.id, values=[], timings=[]))
        except (EOFError, OSError):
            link.close()


def _measure(addresses: dict[str, str], credentials: Credentials, rounds: int) -> list[Any]:
    """A row per size."""
    links = {
        "plain": connect(addresses["plain"], LIMIT_BYTES, arrays),
        "tls": connect(addresses["tls"], LIMIT_BYTES, arrays, connecting(credentials)),
    }
    rows = []
    with progress("transport security", len(SIZES)) as advance:
        for name, n_bytes in SIZES.items():
            rows.append(
                {"payload": name, "payload_bytes": n_bytes, **_turns(links, n_bytes, rounds)}
            )
            advance()
    for link in links.values():
        link.close()
    return rows


def _turns(links: Links, n_bytes: int, rounds: int) -> dict[str, float]:
    """Medians and quartiles in seconds over `rounds` rounds of one each, after a fifth more."""
    payload = np.random.default_rng(0).random(n_bytes // 4, dtype=np.float32)
    taken_s: dict[str, list[float]] = {way: [] for way in WAYS}
    cpu_s: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds + rounds // 5):
        for way in WAYS if number % 2 else WAYS[::-1]:
            begin_s = time.thread_time()
            taken_s[way].append(round_trip_s(links[way], payload))
            cpu_s[way].append(time.thread_time() - begin_s)
    found: dict[str, float] = {}
    for way in WAYS:
        low, found[f"{way}_s"], high = quantiles(taken_s[way][rounds // 5 :], n=4)
        found |= {f"{way}_s_q1": low, f"{way}_s_q3": high}
        found[f"{way}_cpu_s"] = median(cpu_s[way][rounds // 5 :])
    return found | {
        "added_s": found["tls_s"] - found["plain_s"],
        "ratio": found["tls_s"] / found["plain_s"],
    }


def round_trip_s(link: Connection, payload: Any) -> float:
    """Seconds until the small answer to one payload is there."""
    begin_s = time.perf_counter()
    specs, buffers = arrays.pack([payload])
    hop = wire.Hop("edge", "", 0, 0)
    link.send(
        wire.Request(id="r", program="p", route=[hop], at=0, timeout_s=60.0, values=specs), buffers
    )
    link.receive()
    return time.perf_counter() - begin_s


def handshake_s(address: str, credentials: Credentials, count: int = 50) -> float:
    """Median seconds until a new connection may be used."""
    security = connecting(credentials)
    taken_s = []
    for _ in range(count):
        begin_s = time.perf_counter()
        link = connect(address, LIMIT_BYTES, arrays, security)
        round_trip_s(link, np.zeros(1, dtype=np.float32))
        taken_s.append(time.perf_counter() - begin_s)
        link.close()
    return median(taken_s)


def _write(out: Path, rows: list[Any], handshake: float) -> None:
    grouped_bars(
        out / "transport_security.png",
        [row["payload"] for row in rows],
        {way: [row[f"{way}_s"] * 1e3 for row in rows] for way in WAYS},
        "there and back, median and quartiles, ms\n(measured, loopback)",
        {
            way: [(row[f"{way}_s_q1"] * 1e3, row[f"{way}_s_q3"] * 1e3) for row in rows]
            for way in WAYS
        },
    )
    write_rows(out, "transport_security", rows, {"connection_s": handshake})
    shown = ("payload", "plain_s", "tls_s", "added_s", "ratio", "plain_cpu_s", "tls_cpu_s")
    print_rows([{key: row[key] for key in shown} for row in rows], "One hop there and back")
    click.echo(f"a new connection with its handshake and a first answer: {handshake * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
