"""Who has to go where too many wait to show that they belong."""

import pytest

from edgesplit.node.tier import entrance
from edgesplit.node.tier.entrance import HandshakeQueue


class Peer:
    is_closed = False

    def shutdown(self, how):
        pass

    def close(self):
        self.is_closed = True


@pytest.fixture
def queued(monkeypatch):
    """queued(host, count): so many more wait, of whom it returns the connections."""
    monkeypatch.setattr(entrance, "_MOST_WAITING", 4)
    made = HandshakeQueue("end")

    def queue(host, count=1):
        peers = [Peer() for _ in range(count)]
        for peer in peers:
            made.queue(peer, host)
        return peers

    return queue


def closed(peers):
    return [peer.is_closed for peer in peers]


def test_the_one_that_has_waited_longest_goes(queued):
    first = queued("10.0.0.1", 4)
    assert closed(first) == [False] * 4
    queued("10.0.0.1", 2)
    assert closed(first) == [True, True, False, False]


def test_a_host_that_floods_shuts_out_itself(queued):
    (quiet,) = queued("10.0.0.2")
    flood = queued("10.0.0.1", 20)
    assert closed(flood) == [True] * 17 + [False] * 3
    assert not quiet.is_closed
    (late,) = queued("10.0.0.3")
    assert closed([*flood[17:], quiet, late]) == [True, False, False, False, False]
