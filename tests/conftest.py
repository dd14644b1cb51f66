"""How two processes share the tests: file by file, the testbed as one, which begins first."""

import pytest

TESTBED = "tests/testbed/"  # its hosts have names and addresses of their own, once on a machine


def pytest_collection_modifyitems(items):
    """The longest work first, so that it is not the last to be waited for."""
    items.sort(key=lambda item: not item.nodeid.startswith(TESTBED))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Modules share clusters, the testbed's modules share hosts: none is split up."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return TESTBED if nodeid.startswith(TESTBED) else nodeid.partition("::")[0]

    return ByFile(config, log)
