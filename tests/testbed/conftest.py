"""Real namespaces on this machine, with names and addresses of their own; all removed after."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bed_layout import LAYOUT

from edgesplit.testbed.layout import HOSTS
from edgesplit.testbed.ray_cluster import ray_down, ray_up, write_cluster_files
from edgesplit.testbed.system import forbidden, missing
from edgesplit.testbed.testbed import Testbed


def pytest_collection_modifyitems(items):
    """Say why where the machine cannot make a testbed."""
    reason = missing() or forbidden()
    for item in items:
        if reason and item.get_closest_marker("testbed"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def bed():
    """A testbed of three hosts."""
    testbed = Testbed(LAYOUT)
    testbed.down()
    testbed.up()
    yield testbed
    testbed.down()


@pytest.fixture
def nominal(bed):
    """The testbed with every host running and nothing shaped, cut or slowed, before and after."""
    _reset(bed)
    yield bed
    _reset(bed)


@pytest.fixture(scope="session")
def cluster(bed):
    """The testbed after `ray up`; `nominal` must not be used any more.

    Its nodes give up on a lost head after 10 s, not 30: a test waits for that.
    """
    bed.up()
    write_cluster_files(LAYOUT, Path(__file__).parents[2] / "cluster.yaml")
    for host in HOSTS:
        file = LAYOUT.host_folder(host) / "node.env"
        file.write_text(
            file.read_text().replace("reconnect_timeout_s=30", "reconnect_timeout_s=10")
        )
    ray_up(bed)
    yield bed
    for host in HOSTS:  # whatever a failed test has left goes with its host
        if bed.state().is_running(host):
            bed.kill(host)


@pytest.fixture(scope="session")
def ending(cluster):
    """`ray down`, begun; its end is waited for while other tests run, as Ray takes over a minute.

    Nothing but that end may be asked of `cluster` any more.
    """
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(ray_down, cluster)


def _reset(bed):
    bed.up()
    state = bed.state()
    bed.shape(list(state.rates), None)
    bed.cut(list(state.cuts), is_cut=False)
    for host in list(state.cores):
        bed.slow(host, None)
