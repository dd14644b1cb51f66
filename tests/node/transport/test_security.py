"""Who may talk to a tier, over real sockets: the session's key opens, nothing else does."""

import contextlib
import pickle
import shutil
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from connected import LIMIT_BYTES, connected
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inside_node import MOST_WAITING, only_tcp, prefix, send_bytes, socket_of, tls_record_of
from tiers import tiers
from wiretap import wiretap

from edgesplit.errors import RequestError, TransportSecurityError
from edgesplit.node.tier import host
from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.client import Client
from edgesplit.node.transport.connection import Connection, connect
from edgesplit.node.transport.greeting import greet
from edgesplit.node.transport.security import UNSECURED, accepting, connecting, new_credentials

ROUTE = [("end", 0, 3), ("edge", 3, 5), ("cloud", 5, 9)]
WAIT_S = 10.0


@pytest.fixture(scope="module")
def credentials():
    return new_credentials()


@pytest.fixture(scope="module", autouse=True)
def between_hosts():
    """Without what two processes of one host do instead: test_local.py has that."""
    with pytest.MonkeyPatch.context() as patch:
        only_tcp(patch)
        yield


@pytest.fixture(scope="module")
def three(credentials):
    with tiers(credentials=credentials) as running:
        yield running


@pytest.fixture(params=[False, True], ids=["tls", "local"])
def pair(credentials, request):
    """Two ends of one connection, its handshake done."""
    with connected(credentials, request.param) as found:
        yield found


def still_serves(three):
    return three.infer([torch.ones(1)], ROUTE).values[0] == 37


def eventually(is_true):
    deadline_s = time.monotonic() + WAIT_S
    while not is_true():
        assert time.monotonic() < deadline_s
        threading.Event().wait(0.01)


def plain_socket(server, session: str | None = ""):
    """Connected to it, and, unless that is None, as if of that session."""
    host, port = server.address.split(":")
    made = socket.create_connection((host, int(port)), timeout=WAIT_S)
    if session is not None:
        greet(made, session)
    return made


# The key


def test_credentials_hide_their_key_travel_and_are_each_others_stranger(credentials):
    assert "PRIVATE" not in repr(credentials)
    assert "PRIVATE" in credentials.key
    assert pickle.loads(pickle.dumps(credentials)) == credentials
    assert new_credentials().certificate != credentials.certificate


def test_a_certificate_holds_whatever_a_tier_takes_the_time_for(credentials):
    made = x509.load_pem_x509_certificate(credentials.certificate.encode())
    assert made.not_valid_before_utc.timestamp() == 0
    assert made.not_valid_after_utc.year == 9999


def test_no_key_file_is_left(credentials, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert accepting(credentials).tls.minimum_version == ssl.TLSVersion.TLSv1_3
    assert list(tmp_path.iterdir()) == []


# Whoever has it


@pytest.mark.parametrize("dtype", wire.ITEM_BYTES)
@pytest.mark.parametrize("n", [1, 5_000, 400_000])
def test_every_dtype_arrives_bit_by_bit(three, dtype, n):
    item_bytes = wire.ITEM_BYTES[dtype]
    high = 2 if dtype == "bool" else 256
    generator = torch.Generator().manual_seed(n)
    raw = torch.randint(0, high, (n * item_bytes,), dtype=torch.uint8, generator=generator)
    x = raw.view(getattr(torch, dtype))
    stages = [("end", 0, 0), ("edge", 0, 0), ("cloud", 0, 0)]
    (y,) = three.infer([x], stages).values
    assert y.dtype == x.dtype
    assert torch.equal(y.view(torch.uint8), raw)


def test_a_large_payload_in_pieces_of_every_size(pair):
    near, far = pair
    pieces = [np.full(n, n % 251, np.uint8) for n in (1, 16_383, 16_384, 16_385, 262_143, 700_001)]
    specs, buffers = arrays.pack(pieces)
    sender = threading.Thread(target=near.send, args=(_reply(specs), buffers))
    sender.start()
    _, values = far.receive()
    sender.join(WAIT_S)
    assert all(np.array_equal(a, b) for a, b in zip(values, pieces, strict=True))


def _reply(specs, name="r"):
    return wire.Reply(id=name, values=specs, timings=[])


def test_two_threads_send_and_one_receives_on_both_sides(pair):
    count, payload = 30, np.arange(200_000, dtype=np.float32)

    def send(link, name):
        for number in range(count):
            specs, buffers = arrays.pack([payload + number])
            link.send(_reply(specs, f"{name}-{number}"), buffers)

    def receive(link, into):
        for _ in range(2 * count):
            message, (values,) = link.receive()
            number = int(message.id.rpartition("-")[2])
            into.append((message.id, np.array_equal(values, payload + number)))

    got = [], []
    threads = [threading.Thread(target=send, args=(link, n)) for link in pair for n in "ab"]
    threads += [threading.Thread(target=receive, args=each) for each in zip(pair, got, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for into in got:
        assert len(into) == 2 * count
        assert all(is_right for _, is_right in into)
        for name in "ab":  # each sender's in its own order
            numbers = [int(i.split("-")[1]) for i, _ in into if i.startswith(name)]
            assert numbers == list(range(count))


def test_close_ends_a_receive_that_waits(pair):
    near, _ = pair
    ended = []

    def receive():
        with pytest.raises((EOFError, OSError)):
            near.receive()
        ended.append(True)

    waiting = threading.Thread(target=receive)
    waiting.start()
    threading.Event().wait(0.1)
    near.close()
    waiting.join(WAIT_S)
    assert ended


def test_wait_tells_of_what_came_with_something_else_and_not_of_half_a_record(credentials):
    with connected(credentials) as (near, far):
        _wait_tells(near, far)


def _wait_tells(near, far):
    assert not far.wait(0.01)
    near.send(wire.Echo(id="1"))
    near.send(wire.Echo(id="2"))
    for name in "12":
        assert far.wait(WAIT_S)
        assert far.receive()[0].id == name
    assert not far.wait(0.01)
    record = tls_record_of(near, b"x" * 100)
    socket_of(near).sendall(record[:50])
    assert not far.wait(0.1)
    socket_of(near).sendall(record[50:])
    assert far.wait(WAIT_S)
    near.close()


def test_a_peer_that_closes_is_an_end(pair):
    near, far = pair
    near.close()
    assert far.wait(WAIT_S)
    with pytest.raises(EOFError):
        far.receive()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
FIELDS = ("id", "program", "route", "at", "timeout_s", "values", "timings", "sender")
TYPED = st.fixed_dictionaries(
    {"type": st.sampled_from(["request", "reply", "refusal", "probe", "echo", "x"])},
    optional=dict.fromkeys(FIELDS, JSON),
)
HEADERS = st.binary(max_size=200) | (JSON | TYPED).map(msgspec.msgpack.encode)
VERSIONS = st.sampled_from([1, 1, 1, 1, 0, 2, 255])


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(header=HEADERS, body=st.binary(max_size=100), version=VERSIONS)
def test_what_holders_of_the_key_make_up_is_refused_and_the_tier_goes_on(
    three, header, body, version
):
    end = three.servers["end"]
    link = connect(end.address, LIMIT_BYTES, arrays, connecting(end.settings.credentials))
    frame = prefix(wire.MAGIC, version, len(header), len(body)) + header + body
    send_bytes(link, frame)
    try:
        link.send(wire.Probe(id="still", sender="x"))
        while link.receive()[0] != wire.Echo(id="still"):
            assert link.wait(WAIT_S)
    except (EOFError, OSError):
        assert version != wire.VERSION
    link.close()
    assert still_serves(three)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the command openssl")
def test_a_change_of_keys_that_the_peer_asks_for_is_answered(credentials, tmp_path):
    pem = tmp_path / "session.pem"
    pem.write_text(credentials.certificate + credentials.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-msg"]
        for option in ("-cert", "-key", "-CAfile"):
            command += [option, str(pem)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer:
            link = Connection(listener.accept()[0], LIMIT_BYTES, arrays, accepting(credentials))
            peer.stdin.write(b"16 bytes of key\n")  # each side's first word
            peer.stdin.flush()
            link.handshake()
            for line in peer.stdout:
                if b"Verify return code" in line or b"Max Early Data" in line:
                    break
            peer.stdin.write(b"K\n")  # its own command: change the keys, both of them
            peer.stdin.flush()
            assert not link.wait(1.0)
            link.send(wire.Echo(id="after"))
            link.close()
            said = peer.stdout.read()
    assert said.count(b"KeyUpdate") == 2
    assert b"after" in said


# Whoever has not


def client_hello():
    """The first flight of a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    return outgoing.read()


def probe():
    return wire.encode(wire.Probe(id="p", sender="nobody"))


STRANGERS = {
    "plain frames": probe(),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "zeros": bytes(5000),
    "garbage": np.random.default_rng(0).bytes(5000),
    "half a handshake": client_hello()[:100],
    "a handshake that stops": client_hello(),
    "a handshake, then a frame": client_hello() + probe(),
    "an endless record": b"\x16\x03\x01\xff\xff" + bytes(70_000),
    "nothing": b"",
}


@pytest.mark.parametrize("session", ["", None, "another's"], ids=["named", "none", "unknown"])
@pytest.mark.parametrize("data", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_closed_and_the_tier_goes_on(three, data, session, monkeypatch):
    monkeypatch.setattr(host, "HANDSHAKE_TIMEOUT_S", 0.3)
    end = three.servers["end"]
    refused = end.entrance.refused
    with plain_socket(end, session) as stranger:
        with contextlib.suppress(ConnectionError):  # it is closed already
            stranger.sendall(data)
        assert still_serves(three)
        eventually(lambda: end.entrance.refused == refused + 1)
        while received := _received(stranger):
            assert b"ESP" not in received
    assert still_serves(three)


def _received(connected):
    try:
        return connected.recv(1 << 16)
    except ConnectionError:
        return b""


def careless(security=None, version=ssl.TLSVersion.TLSv1_3):
    """A client that takes any certificate, and shows that of `security` if any."""
    context = connecting(security).tls if security else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, version
    return context


def answered(stranger, context, data):
    """What a tier says to `data`."""
    try:
        with context.wrap_socket(stranger) as secured:
            secured.sendall(data)  # TLS 1.3 lets it be sent before the tier has judged
            return secured.recv(1000)
    except OSError:
        return b""


@pytest.mark.parametrize(
    "context",
    [careless(), careless(new_credentials()), careless(version=ssl.TLSVersion.TLSv1_2)],
    ids=["no certificate", "another session's", "TLS 1.2"],
)
def test_whoever_takes_any_certificate_does_not_get_in_without_the_key(three, context):
    end = three.servers["end"]
    refused, request = end.entrance.refused, wire.encode(three.request([], [("end", 0, 9)])[0])
    with plain_socket(end) as stranger:
        assert answered(stranger, context, request) == b""
    eventually(lambda: end.entrance.refused == refused + 1)
    assert still_serves(three)


def test_the_key_of_another_session_says_so(three):
    end = three.servers["end"]
    client = Client(end.address, credentials=new_credentials())
    with (
        pytest.raises(RequestError, match=r"transport security: .*same session's key"),
        client.channel(),
    ):
        pass
    client.close()
    assert still_serves(three)


def test_a_certificate_without_its_key_cannot_even_be_used(credentials):
    with pytest.raises(ssl.SSLError):
        connecting(replace(credentials, key=new_credentials().key))


def test_a_plain_client_of_a_secured_tier_says_so(three):
    client = Client(three.servers["end"].address)
    request, buffers = three.request([torch.ones(1)], ROUTE)
    with client.channel() as channel:
        channel.send(request, buffers)
        with pytest.raises(RequestError, match="transport security: the peer speaks TLS"):
            channel.receive(request.id, 5.0)
    client.close()
    assert still_serves(three)


def test_a_secured_client_of_a_plain_tier_says_so(credentials):
    with tiers() as plain:
        with pytest.raises(TransportSecurityError, match="transport_security has to be the same"):
            connect(plain.servers["end"].address, LIMIT_BYTES, arrays, connecting(credentials))
        assert still_serves(plain)


def test_a_tier_with_another_key_is_unreachable(three):
    with tiers(credentials=new_credentials()) as other:
        request, buffers = three.request([torch.ones(1)], ROUTE)
        request.route[1] = wire.Hop("edge", other.servers["edge"].address, 3, 5)
        with three.client.channel() as channel:
            channel.send(request, buffers)
            with pytest.raises(RequestError, match=r"\(unreachable\).*transport security"):
                channel.receive(request.id, 5.0)
    assert still_serves(three)


def test_silent_strangers_are_few_and_keep_nobody_out(three):
    end = three.servers["end"]
    refused, threads = end.entrance.refused, threading.active_count()
    silent = [plain_socket(end) for _ in range(3 * MOST_WAITING)]
    eventually(lambda: end.entrance.refused >= refused + 2 * MOST_WAITING)
    fresh = Client(end.address, credentials=end.settings.credentials)
    with fresh.channel() as channel:
        request, buffers = three.request([torch.ones(1)], ROUTE)
        channel.send(request, buffers)
        assert channel.receive(request.id, 5.0).values[0] == 37
    fresh.close()
    eventually(lambda: threading.active_count() <= threads + MOST_WAITING + 2)
    for one in silent:
        one.close()
    eventually(lambda: threading.active_count() <= threads + 2)


# On the wire


def through(tap, credentials, three, x):
    client = Client(tap.address, credentials=credentials)
    try:
        request, buffers = three.request([x], [("end", 0, 9)])
        with client.channel() as channel:
            channel.send(request, buffers)
            return channel.receive(request.id, 5.0)
    finally:
        client.close()


def test_nothing_of_a_payload_or_header_shows_on_the_wire(three, credentials):
    x = torch.arange(100_000, dtype=torch.float32)
    with wiretap(three.servers["end"].address) as tap:
        answer = through(tap, credentials, three, x)
    assert torch.equal(answer.values[0], x + 36)
    sent, answered = bytes(tap.sent[0]), bytes(tap.answered[0])
    assert len(sent) > 400_000
    assert len(answered) > 400_000
    # No word that is shorter: in so many random bytes some three are there by chance.
    for secret in (b"request", b"torch", x[5000:5004].numpy().tobytes()):
        assert secret not in sent
    for secret in (b"reply", b"torch", answer.values[0][5000:5004].numpy().tobytes()):
        assert secret not in answered


def test_the_wiretap_sees_what_is_not_encrypted():
    x = torch.arange(1000, dtype=torch.float32)
    with tiers() as plain, wiretap(plain.servers["end"].address) as tap:
        through(tap, UNSECURED, plain, x)
        assert b"request" in tap.sent[0]
        assert b"reply" in tap.answered[0]
        assert x[500:504].numpy().tobytes() in tap.sent[0]


class Counted:
    """Counts what it runs."""

    def __init__(self):
        self.runs = 0

    def segment(self, start, stop, runtime="torch"):
        def run(values):
            self.runs += 1
            return values

        return run


def test_what_was_recorded_is_worth_nothing_later(three, credentials):
    counted = Counted()
    end = three.servers["end"]
    end.worker.programs["counted"] = counted
    with wiretap(end.address) as tap:
        client = Client(tap.address, credentials=credentials)
        request, buffers = three.request([torch.ones(9)], [("end", 0, 9)], program="counted")
        with client.channel() as channel:
            channel.send(request, buffers)
            channel.receive(request.id, 5.0)
        client.close()
    assert counted.runs == 1
    refused = end.entrance.refused
    with plain_socket(end, None) as again:
        again.sendall(tap.sent[0])
        eventually(lambda: end.entrance.refused == refused + 1)
    assert counted.runs == 1
    assert still_serves(three)


def test_a_changed_byte_ends_the_connection_and_no_more(three, credentials):
    def changed(data):
        return data if len(data) < 20_000 else data[:9000] + bytes([data[9000] ^ 1]) + data[9001:]

    with (
        wiretap(three.servers["end"].address, changed) as tap,
        pytest.raises(RequestError, match="connection to the first tier lost"),
    ):
        through(tap, credentials, three, torch.ones(100_000))
    assert still_serves(three)
