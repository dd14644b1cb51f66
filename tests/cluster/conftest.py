"""Real Ray on this machine. Every cluster is started and ended by the test module that needs it."""

import pytest

from edgesplit import EdgeSplit
from experiments.shared.small_net import small_net


@pytest.fixture(autouse=True)
def _no_cluster_named_outside(monkeypatch, tmp_path):
    """A cluster that the developer happens to run must not be joined by accident."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("EDGESPLIT_NODE_ENV", str(tmp_path / "no.env"))


@pytest.fixture(scope="module")
def one_cluster():
    """Sessions of a module share the embedded cluster, instead of starting one each."""
    with EdgeSplit(small_net()):
        yield
