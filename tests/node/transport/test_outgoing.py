"""Peers that do not read: they hold up nobody who computes or sends, and are closed in the end."""

import contextlib
import socket
import threading

import numpy as np
import pytest
import torch
from faults import until
from inside_node import (
    connections_of,
    jobs_of,
    limit_room,
    only_tcp,
    room_of,
    send_bytes,
    socket_of,
)
from tiers import Additions, tiers

from edgesplit.node.transport import arrays, outgoing, stream, wire
from edgesplit.node.transport.connection import Connection, connect
from edgesplit.node.transport.outgoing import Outgoing
from edgesplit.node.transport.payload_memory import Room
from edgesplit.node.transport.security import UNSECURED, connecting, new_credentials
from edgesplit.node.transport.stream import PlainStream

X = torch.ones(3)
LARGE = 4_000_000  # floats: more than any socket takes in
ALONE = [("end", 0, 9)]


class Enlarging(Additions):
    """A small payload in, a large one out."""

    def segment(self, start, stop, runtime="torch"):
        return lambda values: [torch.zeros(LARGE)]


WAYS = {"plain": (UNSECURED, False), "tls": (new_credentials(), False), "local": (UNSECURED, True)}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def running(request, monkeypatch):
    credentials, is_local = request.param
    if not is_local:
        only_tcp(monkeypatch)
    with tiers(credentials=credentials) as made:
        made.servers["end"].worker.programs["large"] = Enlarging()
        made.security = connecting(credentials)
        yield made


@contextlib.contextmanager
def silent_reader(running, count):
    """Somebody who asks for large answers and reads none."""
    address = running.addresses["end"]
    link = connect(address, wire.DEFAULT_MAX_FRAME_BYTES, arrays, running.security)
    for _ in range(count):
        request, buffers = running.request([X], ALONE, 30.0, program="large")
        link.send(request, buffers)
    try:
        yield link
    finally:
        link.close()


def accepted_by(running):
    """The connection that was made first, as the tier has it."""
    connections = connections_of(running.servers["end"])
    until(lambda: connections)
    return next(iter(connections))


def pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        return near, listener.accept()[0]


def backlog(running):
    return room_of(running.servers["end"]).held_bytes


def test_a_peer_that_reads_nothing_holds_up_no_other(running):
    with silent_reader(running, 5):
        until(lambda: backlog(running) > 3 * 4 * LARGE)
        for _ in range(20):
            assert torch.equal(running.infer([X], ALONE, 20.0).values[0], X + 36)
    until(lambda: backlog(running) == 0)


def test_one_that_reads_late_gets_all_of_it_whole(running):
    """In any order: two threads of the tier send answers, and each names its request."""
    with silent_reader(running, 3) as link:
        until(lambda: backlog(running) > 4 * LARGE)
        seen = [link.receive() for _ in range(3)]
    assert len({message.id for message, _ in seen}) == 3
    assert all(len(values[0]) == LARGE and not values[0].any() for _, values in seen)
    until(lambda: backlog(running) == 0)


@pytest.mark.parametrize("trickles", [False, True], ids=["nothing", "a little now and then"])
def test_a_peer_that_does_not_take_a_frame_in_time_is_closed(running, trickles, monkeypatch):
    """The limit is over the whole frame: a part that is taken does not begin it anew."""
    monkeypatch.setattr(outgoing, "limit_s", lambda n_bytes: 0.5)
    with silent_reader(running, 1) as link:
        inbound = accepted_by(running)

        def is_gone():
            if trickles:
                with contextlib.suppress(OSError):
                    socket_of(link).recv(10_000, socket.MSG_DONTWAIT)
            return inbound.is_closed

        until(is_gone)
    assert running.infer([X], ALONE, 20.0).values
    until(lambda: backlog(running) == 0)


def test_answers_for_which_no_room_is_left_are_refused_as_busy(running):
    limit_room(room_of(running.servers["end"]), 6 * LARGE)
    with silent_reader(running, 6) as link:
        until(lambda: backlog(running) > 2 * LARGE)
        until(lambda: running.servers["end"].worker.jobs_done == 6)
        seen = [link.receive()[0] for _ in range(6)]
    refused = [message for message in seen if isinstance(message, wire.Refusal)]
    assert {message.reason for message in refused} == {"busy"}
    assert 0 < len(seen) - len(refused) <= 2


def test_a_next_tier_that_cannot_be_connected_holds_up_no_computing(running, monkeypatch):
    """Its backlog is full: connecting waits, and whoever asks for it waits alone."""
    monkeypatch.setattr("edgesplit.node.transport.connection.CONNECT_TIMEOUT_S", 60.0)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        host, port = deaf.getsockname()
        full = [socket.socket() for _ in range(4)]
        for one in full:
            one.setblocking(False)
            one.connect_ex((host, port))
        running.addresses["deaf"] = f"{host}:{port}"
        stages = [("end", 0, 3), ("deaf", 3, 9)]
        with running.client.channel() as channel:
            request, buffers = running.request([X], stages, 60.0, failover_after_s=30.0)
            channel.send(request, buffers)
            for _ in range(10):
                assert running.infer([X], ALONE, 60.0).values
            # Had one of them waited for it, it would not be under way any more.
            assert [job.request.id for job in jobs_of(running.servers["end"])] == [request.id]
            deaf.close()
            answer = channel.receive(request.id, 60.0)
        assert answer.timings[-1].failed_over == "deaf unreachable"
        for one in full:
            one.close()


def test_a_sender_that_waits_and_those_that_post_keep_their_frames_apart():
    near, far = pair()
    far_end = Connection(far, wire.DEFAULT_MAX_FRAME_BYTES, arrays)
    near_end = Connection(near, wire.DEFAULT_MAX_FRAME_BYTES, arrays)
    specs, buffers = arrays.pack([np.arange(500_000.0)])
    names = [f"{sender}{n}" for n in range(10) for sender in "ab"]

    def give(sender, give_one):
        for n in range(10):
            reply = wire.Reply(id=f"{sender}{n}", values=specs, timings=[])
            give_one(reply, buffers)

    threads = [
        threading.Thread(target=give, args=("a", near_end.send)),
        threading.Thread(target=give, args=("b", near_end.post)),
    ]
    for thread in threads:
        thread.start()
    seen = []
    for _ in names:
        message, (values,) = far_end.receive()
        assert np.array_equal(values, np.arange(500_000.0))
        seen.append(message.id)
    for thread in threads:
        thread.join(20)
    for sender in "ab":
        assert [name for name in seen if name[0] == sender] == [f"{sender}{n}" for n in range(10)]
    near_end.close()
    far_end.close()


def test_what_waits_is_held_until_it_is_gone_or_the_connection_is():
    near, far = pair()
    room = Room(1 << 30)
    waiting = Outgoing(PlainStream(near), room)
    waiting.post([memoryview(bytes(8_000_000))])
    waiting.post([memoryview(bytes(1_000_000))])
    assert 1_000_000 < room.held_bytes <= 9_000_000
    while room.held_bytes > 1_000_000:
        far.recv(1 << 20)
    near.close()
    waiting.close()
    assert room.held_bytes == 0
    with pytest.raises(OSError, match="closed"):
        waiting.post([memoryview(b"x")])
    far.close()


def test_a_frame_that_trickles_in_has_a_limit_too(running, monkeypatch):
    monkeypatch.setattr("edgesplit.node.transport.connection.limit_s", lambda n_bytes: 0.5)
    monkeypatch.setattr(stream, "_STALL_TIMEOUT_S", 1)  # of one call of the kernel
    address = running.addresses["end"]
    link = connect(address, wire.DEFAULT_MAX_FRAME_BYTES, arrays, running.security)
    request, buffers = running.request([torch.zeros(10_000)], ALONE, 30.0)
    frame = wire.encode(request, 40_000) + bytes(memoryview(buffers[0]))
    inbound, sent = accepted_by(running), 0

    def is_gone():
        nonlocal sent
        with contextlib.suppress(OSError):
            send_bytes(link, frame[sent : sent + 100])
            sent += 100
        return inbound.is_closed

    until(is_gone)
    assert sent < len(frame)
    until(lambda: backlog(running) == 0)
    link.close()


def test_slow_links_have_time_in_proportion():
    assert wire.limit_s(0) == 60
    assert wire.limit_s(1 << 28) > 3600
