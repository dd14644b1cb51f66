"""Tests of one file stay together when two processes share the work; the longest begin first."""

import pytest

TESTBED = "testbed"  # its hosts have names and addresses of their own, once on a machine


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items):
    """A group per file; all of the testbed is one, since its files share the hosts."""
    for item in items:
        group = TESTBED if TESTBED in item.path.parts else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: 0 if TESTBED in item.path.parts else 1)
