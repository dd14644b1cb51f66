"""Large bodies that are encrypted in one piece: what is not as, where and when it was sent is lost.

Over a real connection through somebody in between, who may do with the bytes what he likes.
"""

import contextlib
import socket
import threading

import numpy as np
import pytest
from connected import LIMIT_BYTES, WAIT_S
from inside_node import socket_of

from edgesplit.errors import TransportSecurityError, WireError
from edgesplit.node.transport import arrays, connection, stream, wire
from edgesplit.node.transport.bulk import BULK_BYTES, KEY_BYTES, TAG_BYTES, BulkCipher
from edgesplit.node.transport.connection import Connection, FrameError
from edgesplit.node.transport.security import accepting, connecting, new_credentials

N_BYTES = 2 * BULK_BYTES
SEALED_BYTES = N_BYTES + TAG_BYTES


class Between:
    """near and far with somebody in between, who holds what near sends."""

    def __init__(self, stack):
        security = new_credentials()
        (near, self._from_near), (self._to_far, far) = _pair(), _pair()
        self._from_near.settimeout(WAIT_S)
        self._to_far.settimeout(WAIT_S)
        self.near = Connection(near, LIMIT_BYTES, arrays, connecting(security))
        self.far = Connection(far, LIMIT_BYTES, arrays, accepting(security))
        for one in (self.near, self.far, self._from_near, self._to_far):
            stack.callback(one.close)
        back = threading.Thread(target=self._pass_back, daemon=True)
        back.start()
        greeting = threading.Thread(target=self.far.handshake)
        greeting.start()
        greeted = threading.Thread(target=self.near.handshake)
        greeted.start()
        while greeting.is_alive() or greeted.is_alive():
            self._from_near.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                self._to_far.sendall(self._from_near.recv(1 << 16))
        self._from_near.settimeout(WAIT_S)

    def _pass_back(self):
        with contextlib.suppress(OSError):
            while data := self._to_far.recv(1 << 16):
                self._from_near.sendall(data)

    def held(self, value):
        """(records, large body) of a frame that near sends."""
        specs, buffers = arrays.pack([np.full(N_BYTES, value, np.uint8)])
        self.near.post(wire.Reply(id=f"{value}", values=specs, timings=[]), buffers)
        return self.taken()

    def taken(self):
        """(records, large body) of the next frame that near has sent."""
        head = self._exactly(5)
        head += self._exactly(int.from_bytes(head[3:]))
        return head, self._exactly(SEALED_BYTES)

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            data += self._from_near.recv(count - len(data))
        return data

    def give(self, *parts):
        with contextlib.suppress(OSError):  # far may have closed
            self._to_far.sendall(b"".join(parts))

    def end(self):
        self._to_far.shutdown(socket.SHUT_WR)

    def received(self):
        message, (array,) = self.far.receive()
        return message.id, set(array.tolist())


def _pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        return near, listener.accept()[0]


@pytest.fixture
def between():
    with contextlib.ExitStack() as stack:
        yield Between(stack)


def is_lost(between):
    """Nothing more is received, whatever comes."""
    with pytest.raises((EOFError, OSError, WireError)):
        between.received()
    if not between.far.is_closed:
        between.end()
    with pytest.raises((EOFError, OSError, WireError)):
        between.received()
    return True


def test_what_is_passed_on_as_it_was_arrives(between):
    for value in (1, 2, 3):
        records, body = between.held(value)
        assert bytes([value]) * 16 not in body
        between.give(records, body)
        assert between.received() == (f"{value}", {value})


@pytest.mark.parametrize("at", [0, N_BYTES // 2, N_BYTES - 1, N_BYTES, SEALED_BYTES - 1])
def test_a_changed_bit_is_seen_in_the_body_and_in_its_tag(between, at):
    records, body = between.held(1)
    between.give(records, body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
    assert is_lost(between)


def test_two_bodies_in_the_others_place_are_seen(between):
    (first, body_1), (second, body_2) = between.held(1), between.held(2)
    between.give(first, body_2, second, body_1)
    assert is_lost(between)


def test_two_frames_in_another_order_are_seen(between):
    first, second = between.held(1), between.held(2)
    between.give(*second, *first)
    assert is_lost(between)


def test_a_body_that_comes_again_is_seen(between):
    first, body = between.held(1)
    between.give(first, body)
    assert between.received() == ("1", {1})
    second, _ = between.held(2)
    between.give(second, body)
    assert is_lost(between)


def test_a_frame_that_comes_again_is_seen(between):
    frame = between.held(1)
    between.give(*frame)
    assert between.received() == ("1", {1})
    between.give(*frame)
    assert is_lost(between)


def test_a_body_that_is_left_out_is_seen(between):
    first, _ = between.held(1)
    between.give(first, *between.held(2))
    assert is_lost(between)


@pytest.mark.parametrize("left", [0, 1, N_BYTES, SEALED_BYTES - 1])
def test_a_body_that_is_cut_off_is_seen(between, left):
    records, body = between.held(1)
    between.give(records, body[:left])
    between.end()
    assert is_lost(between)


def test_a_byte_that_is_missing_is_seen_though_others_follow(between):
    records, body = between.held(1)
    between.give(records, body[1:], *between.held(2))
    assert is_lost(between)


def test_a_body_that_trickles_in_has_a_limit(between, monkeypatch):
    monkeypatch.setattr(connection, "limit_s", lambda n_bytes: 0.3)
    records, body = between.held(1)
    between.give(records)
    is_over = threading.Event()

    def trickle():
        for at in range(len(body) - 1):
            between.give(body[at : at + 1])
            if is_over.wait(0.01):
                return

    trickling = threading.Thread(target=trickle)
    trickling.start()
    monkeypatch.setattr(stream, "_STALL_TIMEOUT_S", 1)
    stream.set_options(socket_of(between.far))  # of one call of the kernel
    with pytest.raises((TimeoutError, BlockingIOError)):
        between.received()
    is_over.set()
    trickling.join(WAIT_S)


def test_a_body_that_is_skipped_counts(between):
    """What is refused or not needed passes by, and the next one is opened."""
    between.give(*between.held(1))
    _, body_bytes = between.far.receive_header()
    between.far.skip(body_bytes)
    between.give(*between.held(2))
    assert between.received() == ("2", {2})


def test_a_frame_over_the_limit_is_refused_and_passes_by(between):
    records, body = between.held(1)
    between.give(records, body)
    with pytest.raises(WireError, match="over the limit"):
        between.far.receive_header(most_bytes=100)


def test_a_body_that_its_header_does_not_fit_passes_by(between):
    spec = wire.TensorSpec("uint8", [N_BYTES - 64], [1])
    message = wire.Reply(id="short", values=[spec], timings=[])
    between.near.post(message, [np.zeros(N_BYTES, np.uint8)])
    between.give(*between.taken())
    with pytest.raises(FrameError):
        between.far.receive()
    between.give(*between.held(2))
    assert between.received() == ("2", {2})


# The cipher by itself


@pytest.fixture
def key():
    return bytes(range(KEY_BYTES))


def sealed(cipher, data, head=b"head"):
    found = cipher.seal(memoryview(head), [memoryview(data[:5]), memoryview(data[5:])])
    return found[:-TAG_BYTES], bytes(found[-TAG_BYTES:])


def test_what_was_sealed_is_opened_in_place_and_never_looks_the_same(key):
    sealing, opening, seen = BulkCipher(key), BulkCipher(key), set()
    for _ in range(3):
        body, tag = sealed(sealing, b"the payload")
        seen.add(bytes(body))
        opening.open(b"head", body, tag)
        assert bytes(body) == b"the payload"
    assert len(seen) == 3  # a count goes in: one nonce each


def test_another_header_key_or_count_does_not_open_it(key):
    opening = [(BulkCipher(key), b"Head"), (BulkCipher(key[::-1]), b"head"), (BulkCipher(key), b"")]
    late = BulkCipher(key)
    late.skip()
    for cipher, head in [*opening, (late, b"head")]:
        body, tag = sealed(BulkCipher(key), b"the payload")
        with pytest.raises(TransportSecurityError, match="not as its sender encrypted it"):
            cipher.open(head, body, tag)
