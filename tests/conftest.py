"""How two processes share the tests, and which of them get a second try."""

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
    "tests/cluster/ray/test_users_ray.py", "tests/cluster/", "tests/experiments/",
    "tests/models/", "tests/test_docs.py",
)  # fmt: skip

# No clock, process or socket of theirs depends on the machine: they have one try.
PURE = ("tests/core/", "tests/test_")
SECOND_TRIES = 3  # that a run bears: more of them are a fault, whatever they end with


def pytest_addoption(parser):
    """Here, not beside the corpus, or pytest would know the option for that folder only."""
    parser.addoption(
        "--all-models", action="store_true", help="every model of tests/models, not a sample"
    )


def pytest_collection_modifyitems(items):
    """The longest work first, in the order of LONG; what is short is left for the end."""
    items.sort(key=lambda item: _rank(item.nodeid))
    for item in items:
        if not item.nodeid.startswith(PURE):
            item.add_marker(pytest.mark.flaky(reruns=1))


def _rank(nodeid):
    return next((n for n, begin in enumerate(LONG) if nodeid.startswith(begin)), len(LONG))


def pytest_terminal_summary(terminalreporter):
    """Name what passed the second time, and why it failed before."""
    tried_again = terminalreporter.stats.get("rerun", [])
    if tried_again:
        terminalreporter.section(f"second tries: {len(tried_again)} of {SECOND_TRIES} borne")
    for report in tried_again:
        terminalreporter.write_line(f"{report.nodeid} ({report.when})")
        terminalreporter.write_line(report.longreprtext)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    """Too many second tries fail the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    is_over = reporter is not None and len(reporter.stats.get("rerun", [])) > SECOND_TRIES
    if is_over and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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
