"""A tier that runs out of descriptors or threads for a while: it goes on, and says so once."""

import contextlib
import errno
import logging
import os
import resource
import socket
import threading

import pytest
import torch
from caller import X, calling
from faults import until
from inside_node import connections_of, count_at_the_door, count_idle, count_let_in, shed
from tiers import tiers

from edgesplit.node.process import threads
from edgesplit.node.tier.listener import Listener
from edgesplit.node.transport.client import Client

ROUTE = [("end", 0, 3), ("edge", 3, 5), ("cloud", 5, 9)]


def is_served(running):
    fresh = Client(running.addresses["end"])
    with contextlib.closing(fresh), fresh.channel() as channel:
        request, buffers = running.request([torch.ones(1)], ROUTE)
        channel.send(request, buffers)
        return channel.receive(request.id, 10.0).values[0] == 37


@contextlib.contextmanager
def no_descriptors():
    """None is left to open."""
    before, filling = resource.getrlimit(resource.RLIMIT_NOFILE), []
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                filling.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for one in filling:
            os.close(one)


def said(caplog):
    return [r for r in caplog.records if "cannot take new connections" in r.getMessage()]


def test_a_tier_out_of_descriptors_takes_connections_again_when_it_has_some(caplog):
    with tiers() as running, caplog.at_level(logging.WARNING):
        assert running.infer([torch.ones(1)], ROUTE).values[0] == 37
        host, port = running.addresses["end"].split(":")
        waiting = [socket.socket() for _ in range(20)]
        with no_descriptors():
            for one in waiting:
                one.connect((host, int(port)))
            until(lambda: said(caplog))
        for one in waiting:
            one.close()
        assert running.infer([torch.ones(1)], ROUTE).values[0] == 37
        assert is_served(running)
    assert len(said(caplog)) == 1


def test_a_tier_out_of_threads_takes_connections_again_when_it_has_some(caplog, monkeypatch):
    start, left = threading.Thread.start, [3]

    def fail(thread):
        if thread.name == "edgesplit-reader" and left[0]:
            left[0] -= 1
            raise RuntimeError("can't start new thread")
        return start(thread)

    with tiers() as running, caplog.at_level(logging.WARNING):
        monkeypatch.setattr(threading.Thread, "start", fail)
        host, port = running.addresses["end"].split(":")
        for _ in range(3):
            with socket.create_connection((host, int(port)), timeout=10) as turned_away:
                assert turned_away.recv(1) == b""
        assert is_served(running)
        assert count_at_the_door(running.servers["end"]) == 0
    assert len(said(caplog)) == 1


def test_what_is_idle_longest_is_shed_and_what_is_waited_for_is_not():
    with tiers() as running, calling(running.addresses["end"]) as caller:
        end = running.servers["end"]
        with running.client.channel() as first, running.client.channel() as second:
            for channel in (first, second):
                request, buffers = running.request([X], [("end", 0, 9)])
                channel.send(request, buffers)
                assert channel.receive(request.id, 5.0).values
            until(lambda: count_let_in(end) == 2)
            shed(end)
            until(lambda: not first.is_quiet())
            assert second.is_quiet()
        assert caller.infer() == ""


@pytest.mark.parametrize(
    "code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED]
)
def test_whatever_accept_says_the_next_one_is_taken(code):
    taken, sheds, failures = [], [], [OSError(code, os.strerror(code)), MemoryError()]

    def take(accepted, host):
        accepted.close()
        if failures:
            raise failures.pop()
        taken.append(host)

    listener = Listener("end", take, lambda: sheds.append(None))
    listener.open("127.0.0.1", ())
    running = threading.Thread(target=listener.run)
    running.start()
    host, port = listener.address.split(":")
    for _ in range(3):
        socket.create_connection((host, int(port))).close()
    until(lambda: taken == [host])
    listener.close()
    running.join(10)
    assert not running.is_alive()
    assert len(sheds) == (1 if code == errno.ECONNABORTED else 2)


def test_no_thread_is_an_oserror(monkeypatch):
    def fail(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(OSError, match="no thread for reader"):
        threads.begin(print, "reader")


def test_a_pool_shrinks_again_after_a_burst(monkeypatch):
    monkeypatch.setattr("edgesplit.node.transport.client._IDLE_S", 0.2)
    with tiers() as running, calling(running.addresses["end"]) as caller:
        assert caller.infer() == ""
        with contextlib.ExitStack() as burst:
            for _ in range(20):
                burst.enter_context(caller.client.channel())
        until(lambda: count_idle(caller.client) == 1)
        until(lambda: len(connections_of(running.servers["end"])) == 1)
        assert caller.infer() == ""
