"""An address that is named is used or refused, in whichever way it is written."""

import os
import socket

import pytest
import ray
import torch
from click.testing import CliRunner

from edgesplit import EdgeSplit
from edgesplit.cli import main
from edgesplit.cluster.ray.named import is_same, named_cluster
from edgesplit.errors import ClusterError
from experiments.shared.small_net import small_net

NO_ADDRESS = ["nonsense", "", ":6379", "host:", "host:0", "host:65536", "host:six", "1.2.3.4"]
ELSEWHERE = ["192.0.2.77:6379", "localhost:1", "127.0.0.1:1"]
X = torch.randn(1, 3, 32, 32)


@pytest.mark.parametrize("address", [*NO_ADDRESS, "ray://127.0.0.1:10001", "http://127.0.0.1:8265"])
def test_what_is_no_address_is_told_what_one_is(address):
    with pytest.raises(ClusterError, match=r"address= is .*expected HOST:PORT.*'auto'.*'local'"):
        named_cluster(address)


def test_an_address_that_is_named_comes_before_rays_variable(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    assert named_cluster("192.0.2.2:6379") == "192.0.2.2:6379"
    assert named_cluster(None) == "192.0.2.1:6379"
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert named_cluster(None) is None
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(ClusterError, match="RAY_ADDRESS is 'nonsense'"):
        named_cluster(None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("localhost:6379", "127.0.0.1:6379", True),
        ("[::1]:6379", "127.0.0.1:6379", True),
        ("127.0.0.1:6379", "127.0.0.2:6379", True),
        ("127.0.0.1:6379", "127.0.0.1:6380", False),
        ("192.0.2.77:6379", "127.0.0.1:6379", False),
        ("192.0.2.77:6379", "192.0.2.77:6379", True),
        ("192.0.2.77:6379", "192.0.2.78:6379", False),
        ("no.such.host.invalid:6379", "127.0.0.1:6379", False),
    ],
)
def test_two_ways_to_write_an_address(one, other, same):
    assert is_same(one, other) == is_same(other, one) == same


@pytest.fixture
def port(one_cluster):
    return int(ray.get_runtime_context().gcs_address.rpartition(":")[2])


@pytest.mark.usefixtures("one_cluster")
@pytest.mark.parametrize("how", ["address=", "RAY_ADDRESS"])
@pytest.mark.parametrize("address", ["nonsense", *ELSEWHERE, "ray://127.0.0.1:10001"])
def test_another_cluster_is_refused_while_one_is_open(monkeypatch, how, address):
    if how == "RAY_ADDRESS":
        monkeypatch.setenv("RAY_ADDRESS", address)
    named = address if how == "address=" else None
    with pytest.raises(ClusterError, match=f"{address}") as raised:
        EdgeSplit(small_net(), address=named).infer(X)
    if address in ELSEWHERE:
        assert "in the Ray cluster at" in str(raised.value)
        assert "the embedded one, with 1 open EdgeSplit" in str(raised.value)
        assert "close() those first" in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", socket.gethostname(), "[::1]"])
def test_the_cluster_that_is_open_may_be_named_in_any_way(port, host):
    if not is_same(f"{host}:1", "127.0.0.1:1"):
        pytest.skip(f"{host} is not this machine here")
    with EdgeSplit(small_net(), address=f"{host}:{port}") as split:
        assert split.infer(X).shape == (1, 10)


@pytest.mark.usefixtures("one_cluster")
@pytest.mark.parametrize("address", ["auto", "local", None])
def test_words_for_the_cluster_that_is_open(address):
    with EdgeSplit(small_net(), address=address) as split:
        assert split.infer(X).shape == (1, 10)
        assert not split.emulation.is_off


@pytest.mark.usefixtures("one_cluster")
@pytest.mark.parametrize("words", [["plan", "experiments.shared.small_net:small_net"], ["status"]])
@pytest.mark.parametrize("address", ["nonsense", "192.0.2.77:6379"])
def test_the_commands_option_is_not_ignored(words, address):
    found = CliRunner().invoke(main, [*words, "--address", address])
    assert found.exit_code == 1, found.output
    assert address in found.stderr


def test_nothing_was_set_by_all_this():
    assert "RAY_ADDRESS" not in os.environ
