"""What `ray down` leaves of the cluster of test_ray_up.py, which has begun it some time before."""

import pytest

from edgesplit.testbed.layout import HOSTS
from edgesplit.testbed.ray_cluster import ray_processes

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(600)]


def test_ray_down_leaves_nothing(cluster, ending):
    ending.result()
    assert {host: ray_processes(cluster, host) for host in HOSTS} == {host: [] for host in HOSTS}
