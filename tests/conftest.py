"""How two processes share the tests: file by file, the testbed as one, which begins first."""

import os
import sys
import tempfile

import pytest

# What the developer has told Ray, for clusters of his own; before Ray is imported, which reads it.
for _name in [name for name in os.environ if name.startswith("RAY_")]:
    del os.environ[_name]

# Programs are kept in a folder that goes with the tests, not in the developer's cache. The
# processes that share the tests share it.
if "EDGESPLIT_CACHE" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="edgesplit-cache-")
    os.environ["EDGESPLIT_CACHE"] = _CACHE.name

TESTBED = "tests/testbed/"  # its hosts have names and addresses of their own, once on a machine
# What takes longest: begun first, so that one process is not still at it when the other is done.
LONG = (
    TESTBED, "tests/cluster/session/test_opening.py", "tests/cluster/ray/test_head_loss.py",
    "tests/cluster/measure/", "tests/node/program/test_split_law.py",
    "tests/cluster/ray/test_users_ray.py", "tests/cluster/session/", "tests/experiments/",
)  # fmt: skip


def pytest_addoption(parser):
    """Here, not beside the corpus, or pytest would know the option for that folder only."""
    parser.addoption(
        "--all-models", action="store_true", help="every model of tests/models, not a sample"
    )


def pytest_collection_modifyitems(items):
    """The longest work first, in the order of LONG; what is short is left for the end."""
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid):
    return next((n for n, begin in enumerate(LONG) if nodeid.startswith(begin)), len(LONG))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Modules share clusters, the testbed's modules share hosts: none is split up."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return TESTBED if nodeid.startswith(TESTBED) else nodeid.partition("::")[0]

    return ByFile(config, log)


@pytest.fixture
def one_thread():
    """torch computes on one thread: in which order sums are taken depends on how many there are."""
    import torch  # which the tests of core do without

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def _no_cluster_outlives_its_module(request):
    """Named where it happens: the module that a left cluster would break is another one."""
    yield
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()
        pytest.fail(f"{request.module.__name__} left this process joined to a cluster")
