"""Faults on hosts and links while a program on `end` sends: nothing lost, nothing wrong, and back.

The short form of `python -m experiments.chaos --scene testbed`. It comes after test_hosts.py, which
wants hosts without Ray, and before test_ray_up.py, whose last test ends the cluster.
"""

import pytest

from experiments.chaos.call import Caller
from experiments.chaos.faults import Fault
from experiments.chaos.hosts import Hosts, Units
from experiments.chaos.matrix import REQUEST, THREE, Case
from experiments.chaos.rows import row

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(300)]
SLACK_S = 1.0  # the bound has no term for a machine that other tests share
CASES = [
    Case((Fault("kill", "edge"), Fault("freeze", "cloud", 4.0)), REQUEST, THREE),
    Case((Fault("cut", "edge-cloud", 3.0),), REQUEST, THREE),
    Case((Fault("power-cut", "edge", 2.0),), REQUEST, THREE),
    # After a power cut, which starts its unit.
    Case((Fault("kill-raylet", "edge"),), REQUEST, THREE),
]


@pytest.fixture(scope="module")
def rows(cluster, tmp_path_factory):
    """What became of the requests, by fault; one session through all of them."""
    log = tmp_path_factory.mktemp("caller") / "log"
    with Units(cluster) as units, Caller(cluster, THREE, 0, log) as caller:
        hosts = Hosts(cluster, units)
        return {
            str(case): row(cluster, hosts, caller, case, number)
            for number, case in enumerate(CASES)
        }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_request_is_answered_right_within_the_bound(rows, case):
    found = rows[str(case)]
    assert found["requests"] == found["right"] > 20, found
    assert (found["errors"], found["lost"], found["wrong"]) == (0, 0, 0), found
    assert found["by_fallback"] > 0, found
    assert found["longest_wait_s"] <= found["bound_s"] + SLACK_S < 15, found
    assert found["back_s"] is not None, found
