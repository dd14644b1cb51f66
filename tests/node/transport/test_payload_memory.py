"""Room for payloads: what is declared counts before it is read, what is answered no more."""

import threading

import pytest
import torch
from caller import X, calling
from faults import Held, until
from inside_node import has_waiters, limit_room, room_of
from tiers import tiers

from edgesplit.node.process import headroom
from edgesplit.node.process.headroom import Memory
from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.connection import connect
from edgesplit.node.transport.payload_memory import _FREE_BYTES, Room

MIB = 1 << 20


def test_small_payloads_pass_whatever_the_machine_says(monkeypatch):
    monkeypatch.setattr(headroom, "machine_memory", lambda: Memory(1, 0))
    room = Room(1 << 40)
    assert room.take(_FREE_BYTES, 0)
    assert not room.take(1, 0)
    room.give_back(1)
    assert room.take(1, 0)


@pytest.mark.parametrize(("most", "available"), [(100, 1000), (1000, 164)], ids=["most", "memory"])
def test_large_ones_are_bounded_by_the_messages_limit_and_by_memory(monkeypatch, most, available):
    monkeypatch.setattr(headroom, "machine_memory", lambda: Memory(0, available * MIB))
    monkeypatch.setattr(headroom, "cgroup_memory", lambda: iter(()))
    room = Room(most * MIB)
    assert room.take(60 * MIB, 0)
    assert not room.take(60 * MIB, 0)
    assert room.take(40 * MIB, 0)
    assert room.held_bytes == 100 * MIB


def test_whoever_waits_gets_what_is_given_back():
    room, got = Room(100 * MIB), []
    assert room.take(100 * MIB, 0)
    waiting = threading.Thread(target=lambda: got.append(room.take(50 * MIB, 30)))
    waiting.start()
    until(lambda: has_waiters(room))
    room.give_back(60 * MIB)
    waiting.join(10)
    assert got == [True]


def test_a_flood_stays_bounded_and_the_honest_are_served():
    """Sixty times 4 MiB, to a tier that takes messages of 16 MiB."""
    held = Held()
    most, n = 16 * MIB, MIB
    with tiers(held, max_frame_bytes=most) as running:
        room, seen = room_of(running.servers["end"]), []
        limit_room(room, 2 * most + MIB)
        flood = [connect(running.addresses["end"], most, arrays) for _ in range(12)]
        payload = torch.zeros(n)

        def pour(link):
            for _ in range(5):
                request, buffers = running.request([payload], [("end", 0, 9)], 60.0)
                link.send(request, buffers)

        threads = [threading.Thread(target=pour, args=(link,)) for link in flood]
        for thread in threads:
            thread.start()
        until(lambda: seen.append(room.held_bytes) or room.held_bytes > 28 * MIB, 30)
        with calling(running.addresses["end"]) as caller:
            honest = threading.Thread(
                target=lambda: seen.append(caller.infer(failover_after_s=30.0))
            )
            honest.start()
            for thread in threads:
                while thread.is_alive():
                    seen.append(room.held_bytes)
                    thread.join(0.05)
            held.go_on.set()
            honest.join(30)
        assert "" in seen
        assert max(n for n in seen if n != "") <= 2 * most + MIB
        answers = [link.receive()[0] for link in flood for _ in range(5)]
        assert {type(answer) for answer in answers} == {wire.Reply, wire.Refusal}
        assert {a.reason for a in answers if isinstance(a, wire.Refusal)} == {"busy"}
        until(lambda: room.held_bytes == 0)
        for link in flood:
            link.close()


def test_a_caller_whose_payload_finds_no_room_asks_again_and_loses_nothing():
    held = Held()
    with tiers(held) as running, calling(running.addresses["end"]) as caller:
        room = room_of(running.servers["end"])
        room.add(1 << 40)
        waiting = []
        thread = threading.Thread(
            target=lambda: waiting.append(caller.infer(failover_after_s=30.0))
        )
        thread.start()
        until(lambda: has_waiters(room))
        held.go_on.set()
        room.give_back(1 << 40)
        thread.join(20)
        assert waiting == [""]
        assert torch.equal(running.infer([X], [("end", 0, 9)]).values[0], X + 36)
