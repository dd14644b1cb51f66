"""What the end of a session leaves of Ray in this process: nothing, whoever is under way."""

import threading
import time

import pytest
import ray
from inside_session import session_of

from edgesplit import EdgeSplit
from edgesplit.errors import ClosedError, ClusterError
from experiments.shared.small_net import small_net

LIMIT_S = 60.0


def test_a_start_that_fails_halfway_leaves_no_cluster(monkeypatch):
    """The tiers' actors, which were begun, are not somebody else's for whom it would be kept."""

    def fails(settings):
        raise ClusterError("no such luck")

    monkeypatch.setattr("edgesplit.cluster.session.membership.scheduler_actor", fails)
    with pytest.raises(ClusterError, match="no such luck"):
        EdgeSplit(small_net()).open()
    assert not ray.is_initialized()


def test_ray_is_left_when_nobody_calls_it_any_more():
    """Else the next call would start a cluster, which nobody ends."""
    entered, seen = threading.Event(), []

    def use(session):
        """As the caller's threads do; close() may have given up waiting for one."""
        with session.attached() as now:
            entered.set()
            while not now.connection.is_closed:
                time.sleep(0.001)
            seen.append(ray.is_initialized())
        with pytest.raises(ClosedError), session.attached():
            pass

    with EdgeSplit(small_net()) as split:
        user = threading.Thread(target=use, args=(session_of(split),))
        user.start()
        assert entered.wait(LIMIT_S)
    user.join(LIMIT_S)
    assert seen == [True]
    assert not ray.is_initialized()
