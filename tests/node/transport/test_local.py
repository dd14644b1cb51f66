"""Who may talk to a tier from its own host: the same user with the session's key, nobody else."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from connected import LIMIT_BYTES, WAIT_S
from faults import until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inside_node import (
    LOCAL_HELLO_BYTES,
    LOCAL_MAGIC,
    LOCAL_PROOF_BYTES,
    MOST_WAITING,
    only_tcp,
    prefix,
    send_bytes,
    socket_of,
)
from other_user import as_nobody
from tiers import tiers

from edgesplit.errors import RequestError, TransportSecurityError
from edgesplit.node.tier import entrance
from edgesplit.node.tier import host as tier_host
from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.client import Client
from edgesplit.node.transport.connection import Connection, connect
from edgesplit.node.transport.greeting import greet
from edgesplit.node.transport.local_stream import LocalPeer, connect_here, listen_here
from edgesplit.node.transport.security import UNSECURED, connecting, new_credentials
from edgesplit.node.transport.stream import HANDSHAKE_FAILURE

ROUTE = [("end", 0, 3), ("edge", 3, 5), ("cloud", 5, 9)]
# Passes on what two processes of this host say to each other, as itself.
RELAY = """
import socket, sys, threading
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0" + sys.argv[1])
listener.listen()
print("listens", flush=True)
near, _ = listener.accept()
far = socket.socket(socket.AF_UNIX)
far.connect("\\0" + sys.argv[2])
def pass_on(source, sink):
    while data := source.recv(1 << 16):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)
threading.Thread(target=pass_on, args=(near, far), daemon=True).start()
pass_on(far, near)
"""


@pytest.fixture(scope="module", params=["a session's", "nobody's"])
def three(request):
    """Tiers with the key of a session, and without one."""
    with tiers(
        credentials=new_credentials() if request.param == "a session's" else UNSECURED
    ) as made:
        yield made


@pytest.fixture(scope="module")
def secured():
    with tiers(credentials=new_credentials()) as made:
        yield made


def still_serves(running):
    return running.infer([torch.ones(1)], ROUTE).values[0] == 37


def security_of(running):
    return connecting(running.servers["end"].settings.credentials)


def link_to(running, security=None):
    address = running.servers["end"].address
    return connect(address, LIMIT_BYTES, arrays, security or security_of(running))


def stranger_to(running):
    made = connect_here(running.servers["end"].address, WAIT_S)
    made.settimeout(WAIT_S)
    greet(made, "")
    return made


def rest_of(stranger):
    """All that is still said to it."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while part := stranger.recv(1 << 16):
            said += part
    return said


# Whoever has the key


def test_caller_and_tiers_of_one_host_use_no_tcp(three):
    with contextlib.closing(link_to(three)) as link:
        assert socket_of(link).family == socket.AF_UNIX
    refused = three.servers["end"].entrance.refused
    assert still_serves(three)
    assert three.servers["end"].entrance.refused == refused


@pytest.mark.parametrize("dtype", wire.ITEM_BYTES)
@pytest.mark.parametrize("n", [1, 400_000])
def test_every_dtype_arrives_bit_by_bit(secured, dtype, n):
    item_bytes, high = wire.ITEM_BYTES[dtype], 2 if dtype == "bool" else 256
    generator = torch.Generator().manual_seed(n)
    raw = torch.randint(0, high, (n * item_bytes,), dtype=torch.uint8, generator=generator)
    x = raw.view(getattr(torch, dtype))
    stages = [("end", 0, 0), ("edge", 0, 0), ("cloud", 0, 0)]
    (y,) = secured.infer([x], stages).values
    assert y.dtype == x.dtype
    assert torch.equal(y.view(torch.uint8), raw)


def test_between_network_namespaces_there_is_no_such_socket(three):
    """What is named is an address of this host, or nobody is asked."""
    _, _, port = three.servers["end"].address.rpartition(":")
    for host in ("192.0.2.1", "2001:db8::1", "localhost", "example.org", ""):
        with contextlib.closing(listen_here(f"{host}:{port}")):
            assert connect_here(f"{host}:{port}", WAIT_S) is None


def test_where_somebody_else_has_the_name_tcp_serves(monkeypatch, caplog):
    make, taken = socket.create_server, []

    def made(address, **options):
        found = make(address, **options)
        host, port = found.getsockname()
        taken.append(listen_here(f"{host}:{port}"))  # before the tier does
        return found

    monkeypatch.setattr(socket, "create_server", made)
    with tiers(credentials=new_credentials()) as running:
        monkeypatch.undo()
        assert len(caplog.records) == 3
        assert "connect to 127.0.0.1:" in caplog.text
        turning_away = [threading.Thread(target=turn_away, args=(one,)) for one in taken]
        for thread in turning_away:
            thread.start()
        assert still_serves(running)
        with contextlib.closing(link_to(running)) as link:
            assert socket_of(link).family == socket.AF_INET
    for one in taken:
        one.shutdown(socket.SHUT_RDWR)
        one.close()
    for thread in turning_away:
        thread.join(WAIT_S)


def turn_away(listener):
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()


def test_a_queue_that_nobody_empties_is_a_timeout():
    with listen_here("127.0.0.1:1") as deaf:
        deaf.listen(0)
        waiting = [connect_here("127.0.0.1:1", WAIT_S)]
        with pytest.raises(TimeoutError, match="takes no connection"):  # noqa: PT012
            while True:
                waiting.append(connect_here("127.0.0.1:1", 0.1))
        for one in waiting:
            one.close()


def test_a_peer_that_says_nothing_is_a_timeout():
    with listen_here("127.0.0.1:1"), connect_here("127.0.0.1:1", WAIT_S) as silent:
        link = Connection(silent, LIMIT_BYTES, arrays, connecting(new_credentials()))
        with pytest.raises(TimeoutError, match="no answer in time"):
            link.handshake(0.1)


# Whoever has not


STRANGERS = {
    "a frame": wire.encode(wire.Probe(id="p", sender="nobody")),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "zeros": bytes(5000),
    "garbage": np.random.default_rng(0).bytes(5000),
    "half a greeting": LOCAL_MAGIC + bytes(7),
    "a greeting that stops": LOCAL_MAGIC + bytes(32),
    "nothing": b"",
}


@pytest.mark.parametrize("data", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_closed_and_the_tier_goes_on(secured, data, monkeypatch):
    monkeypatch.setattr(tier_host, "HANDSHAKE_TIMEOUT_S", 0.3)
    end = secured.servers["end"]
    refused = end.entrance.refused
    with stranger_to(secured) as stranger:
        stranger.sendall(data)
        assert still_serves(secured)
        until(lambda: end.entrance.refused == refused + 1)
        answered = rest_of(stranger)
    greeted_bytes = 64 if data == STRANGERS["a greeting that stops"] else 0
    assert len(answered) == greeted_bytes or answered == HANDSHAKE_FAILURE
    assert still_serves(secured)


def greeted(stranger, hello=None):
    """What a tier answers to a greeting."""
    stranger.sendall(hello or LOCAL_MAGIC + secrets.token_bytes(32))
    said = b""
    while len(said) < 32 + LOCAL_PROOF_BYTES:
        said += stranger.recv(1000)
    return said


class Counted:
    """Counts what it runs."""

    def __init__(self):
        self.runs = 0

    def segment(self, start, stop, runtime="torch"):
        def run(values):
            self.runs += 1
            return values

        return run


@pytest.mark.parametrize("proof", ["random", "the tier's own", "none"])
def test_a_request_without_the_proof_is_not_looked_at(secured, proof):
    end, counted = secured.servers["end"], Counted()
    end.worker.programs["counted"] = counted
    refused = end.entrance.refused
    request, _ = secured.request([], [("end", 0, 9)], program="counted")
    with stranger_to(secured) as stranger:
        said = greeted(stranger)
        given = {"random": secrets.token_bytes(32), "the tier's own": said[32:], "none": b""}
        stranger.sendall(given[proof] + wire.encode(request))
        assert rest_of(stranger) == b""
    until(lambda: end.entrance.refused == refused + 1)
    assert counted.runs == 0
    assert still_serves(secured)


class Recording(socket.socket):
    """Keeps what it sends."""

    sent = b""

    def send(self, data, flags=0):
        self.sent += data
        return super().send(data, flags)


def test_what_was_recorded_is_worth_nothing_later(secured):
    end = secured.servers["end"]
    recording = Recording(fileno=stranger_to(secured).detach())
    first = Connection(recording, LIMIT_BYTES, arrays, security_of(secured))
    first.handshake()
    first.send(wire.Probe(id="p", sender="x"))
    assert first.receive()[0] == wire.Echo(id="p")
    first.close()
    recorded = recording.sent
    assert len(recorded) == LOCAL_HELLO_BYTES + LOCAL_PROOF_BYTES
    refused = end.entrance.refused
    with stranger_to(secured) as again:
        greeted(again, recorded[:LOCAL_HELLO_BYTES])
        again.sendall(recorded[LOCAL_HELLO_BYTES:] + STRANGERS["a frame"])
        assert rest_of(again) == b""
    until(lambda: end.entrance.refused == refused + 1)


def test_the_key_of_another_session_opens_nothing(secured):
    end, other = secured.servers["end"], new_credentials()
    refused = end.entrance.refused
    stranger = Connection(stranger_to(secured), LIMIT_BYTES, arrays, connecting(other))
    with pytest.raises(TransportSecurityError, match="its proof is of another key or process"):
        stranger.handshake()
    stranger.close()
    until(lambda: end.entrance.refused == refused + 1)
    with pytest.raises(TransportSecurityError, match="same session's key"):  # of TCP, tried next
        link_to(secured, connecting(other))
    assert still_serves(secured)


def test_a_client_without_security_says_so():
    with tiers(credentials=new_credentials()) as running:
        client = Client(running.addresses["end"])
        request, buffers = running.request([torch.ones(1)], ROUTE)
        with contextlib.closing(client), client.channel() as channel:
            channel.send(request, buffers)
            with pytest.raises(RequestError, match="transport security: the peer speaks TLS"):
                channel.receive(request.id, 5.0)
        assert still_serves(running)


def test_a_tier_without_security_says_so():
    with tiers() as running:
        with pytest.raises(TransportSecurityError, match="transport_security has to be the same"):
            link_to(running, connecting(new_credentials()))
        assert still_serves(running)


def test_somebody_in_between_proves_nothing(secured):
    """Of this user, and with whatever the two say: the proofs name two other processes."""
    end = secured.servers["end"]
    refused = end.entrance.refused
    command = [sys.executable, "-c", RELAY, "edgesplit/127.0.0.1:1", f"edgesplit/{end.address}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as relay:
        assert relay.stdout.readline() == b"listens\n"
        made = connect_here("127.0.0.1:1", WAIT_S)
        greet(made, "")
        link = Connection(made, LIMIT_BYTES, arrays, security_of(secured))
        with pytest.raises(TransportSecurityError, match="another key or process"):
            link.handshake()
        link.close()
        until(lambda: end.entrance.refused == refused + 1)
    assert still_serves(secured)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")
def test_another_user_is_refused_with_or_without_the_key(secured):
    end, security = secured.servers["end"], security_of(secured)
    refused = end.entrance.refused

    def attack():
        """As another user who has the key, and takes anybody for his peer."""
        owner = os.geteuid()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "geteuid", lambda: 0)
            made = connect_here(end.address, WAIT_S)
            link = Connection(made, LIMIT_BYTES, arrays, security)
            try:
                greet(made, "")
                link.handshake()
            except OSError as error:
                return [owner, str(error)]
            return [owner, "let in"]

    owner, said = as_nobody(attack)
    assert owner != os.geteuid()
    assert "closed" in said or "reset" in said or "Broken pipe" in said
    until(lambda: end.entrance.refused == refused + 1)
    assert still_serves(secured)
    # Who is honest sees who listens, and does not ask.
    assert as_nobody(lambda: connect_here(end.address, WAIT_S) is None)


def test_a_tier_looks_at_the_user_before_it_reads(secured, monkeypatch):
    end = secured.servers["end"]
    refused = end.entrance.refused
    other_user = LocalPeer(os.getpid(), os.geteuid() + 1)
    with monkeypatch.context() as patch:
        patch.setattr(tier_host, "peer_of", lambda connected: other_user)
        with socket.socket(socket.AF_UNIX) as other:  # who does not look at whom he connects to
            other.settimeout(WAIT_S)
            other.connect(f"\0edgesplit/{end.address}")
            until(lambda: end.entrance.refused == refused + 1)
            assert rest_of(other) == b""
    assert still_serves(secured)


def test_silent_strangers_are_few_and_keep_nobody_out(secured):
    end = secured.servers["end"]
    refused, threads = end.entrance.refused, threading.active_count()
    silent = [stranger_to(secured) for _ in range(3 * MOST_WAITING)]
    until(lambda: end.entrance.refused >= refused + 2 * MOST_WAITING)
    fresh = Client(end.address, credentials=end.settings.credentials)
    with contextlib.closing(fresh), fresh.channel() as channel:
        request, buffers = secured.request([torch.ones(1)], ROUTE)
        channel.send(request, buffers)
        assert channel.receive(request.id, 5.0).values[0] == 37
    until(lambda: threading.active_count() <= threads + MOST_WAITING + 3)
    for one in silent:
        one.close()
    until(lambda: threading.active_count() <= threads + 3)


def test_those_of_this_host_and_others_are_counted_apart(secured, monkeypatch):
    """A flood of the one shuts out itself."""
    seen, queue = [], entrance.HandshakeQueue.queue

    def note(self, connection, host):
        seen.append(host)
        queue(self, connection, host)

    monkeypatch.setattr(entrance.HandshakeQueue, "queue", note)
    link_to(secured).close()
    with monkeypatch.context() as patch:
        only_tcp(patch)
        link_to(secured).close()
        until(lambda: len(seen) == 2)
    assert seen == [f"user {os.geteuid()} of this host", "127.0.0.1"]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(header=st.binary(max_size=200), body=st.binary(max_size=100))
def test_what_holders_of_the_key_make_up_is_refused_and_the_tier_goes_on(secured, header, body):
    link = link_to(secured)
    assert socket_of(link).family == socket.AF_UNIX
    send_bytes(link, prefix(wire.MAGIC, wire.VERSION, len(header), len(body)) + header + body)
    link.send(wire.Probe(id="still", sender="x"))
    while link.receive()[0] != wire.Echo(id="still"):
        assert link.wait(WAIT_S)
    link.close()
