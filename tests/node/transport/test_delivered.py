"""What a connection knows of how far its frames have come, whether or not they are read."""

import threading

import numpy as np
import pytest
from connected import connected
from faults import until
from inside_node import socket_of

from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.security import new_credentials

LARGE_BYTES = 24_000_000  # more than the kernels of both sides take in
PIECE_BYTES = 1 << 20
WAYS = {"plain": {}, "tls": {"credentials": new_credentials()}, "local": {"is_local": True}}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def ends(request):
    with connected(**request.param) as found:
        yield found


def frame(n_bytes):
    specs, buffers = arrays.pack([np.zeros(n_bytes, np.uint8)])
    return wire.Reply(id="r", values=specs, timings=[]), buffers


def test_what_nobody_reads_is_not_delivered(ends):
    near, _ = ends
    assert near.posted_bytes == near.delivered_bytes() == 0
    near.post(*frame(LARGE_BYTES))
    assert LARGE_BYTES < near.posted_bytes < LARGE_BYTES + 1000
    assert near.delivered_bytes() < LARGE_BYTES  # the peer's kernel takes some
    near.post(*frame(LARGE_BYTES))
    assert near.posted_bytes > 2 * LARGE_BYTES
    assert near.delivered_bytes() < LARGE_BYTES


def test_it_follows_a_reader_that_stops_on_the_way(ends):
    near, far = ends
    near.post(*frame(LARGE_BYTES))
    seen, read = [], 0
    while read < LARGE_BYTES // 2:
        read += len(socket_of(far).recv(PIECE_BYTES))
        seen.append(near.delivered_bytes())
    until(lambda: near.delivered_bytes() > read * 0.95)  # beside what the kernel adds
    assert near.delivered_bytes() < near.posted_bytes
    assert seen == sorted(seen)


def test_all_of_it_is_delivered_once_it_was_read(ends):
    near, far = ends
    for n_bytes in (0, 1, 1000, LARGE_BYTES):
        near.post(*frame(n_bytes))
        far.receive()
    until(lambda: near.delivered_bytes() == near.posted_bytes)


def test_several_threads_may_look_and_none_sees_it_go_back(ends):
    near, far = ends
    seen = [], [], []
    is_over = threading.Event()

    def look(into):
        while not is_over.is_set():
            into.append((near.delivered_bytes(), near.posted_bytes))

    looking = [threading.Thread(target=look, args=(into,)) for into in seen]
    for thread in looking:
        thread.start()
    for _ in range(20):
        near.post(*frame(PIECE_BYTES))
        far.receive()
    is_over.set()
    for thread in looking:
        thread.join(10)
    for into in seen:
        assert into == sorted(into)
        assert all(delivered <= posted for delivered, posted in into)


def test_of_a_closed_connection_the_last_is_known(ends):
    near, far = ends
    near.post(*frame(1000))
    far.receive()
    until(lambda: near.delivered_bytes() == near.posted_bytes)
    near.close()
    assert near.delivered_bytes() == near.posted_bytes


def test_a_frame_that_has_not_begun_is_withdrawn_and_the_others_arrive(ends):
    """The first may be half sent; what is behind it still can be taken back."""
    near, far = ends
    posted = [near.post(*frame(LARGE_BYTES)) for _ in range(4)]
    assert near.left_bytes(posted[2]) > 2 * LARGE_BYTES > near.left_bytes(posted[1]) - 1000
    assert not near.withdraw(posted[0])
    assert near.withdraw(posted[1])
    assert near.withdraw(posted[3])
    assert not near.withdraw(posted[1])
    assert near.left_bytes(posted[1]) == 0
    assert near.left_bytes(posted[2]) > LARGE_BYTES
    arrived = [far.receive()[0] for _ in range(2)]
    assert len(arrived) == 2
    until(lambda: near.delivered_bytes() == near.posted_bytes)
    assert near.left_bytes(posted[2]) == 0
    assert not near.withdraw(near.post(*frame(1000)))  # it has left at once
    far.receive()
    until(lambda: near.delivered_bytes() == near.posted_bytes)


def test_an_aborted_connection_sends_no_more(ends):
    near, far = ends
    near.post(*frame(LARGE_BYTES))
    near.abort()
    with pytest.raises((EOFError, OSError)):
        far.receive()
