"""`edgesplit status` of real clusters: embedded, labelled nodes, lost ones, none."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import ray
import torch
from click.testing import CliRunner
from faults import freeze
from inside_session import actor_of, scheduler_of
from labelled_cluster import NODE, labelled_cluster
from waiting import until

from edgesplit import Config, EdgeSplit
from edgesplit.cli import main
from edgesplit.cluster.session.status import cluster_status
from edgesplit.core.plan import parse_plan
from experiments.shared.small_net import small_net

TIERS = ("end", "edge", "cloud")
PLAN = "end:0-3 | edge:3-8"  # between two looks nothing moves
X = torch.zeros(1, 3, 32, 32)


@pytest.fixture(scope="module")
def cluster():
    with labelled_cluster("end", "cloud") as running:
        yield running


@pytest.fixture
def edge(cluster):
    """The edge's node, there for one test; the test may remove it itself."""
    node = cluster.add_node(**NODE, labels={"tier": "edge"})
    cluster.wait_for_nodes()
    yield node
    if node in cluster.list_all_nodes():
        cluster.remove_node(node)


@contextlib.contextmanager
def session(cluster):
    """An EdgeSplit of this process that has answered once. It stays on its plan."""
    config = Config(threads=1, runtimes=("torch",))
    with EdgeSplit(small_net(), policy=PLAN, address=cluster.address, config=config) as split:
        split.infer(X)
        yield split


@contextlib.contextmanager
def stopped(actor):
    """The actor's process stands still meanwhile."""
    pid = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()), timeout=30)
    freeze(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def invoke(*arguments):
    return CliRunner().invoke(main, ["status", *arguments])


def tiers_of(nodes):
    return {node.tier for node in nodes}


# No cluster


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --address"),
        (("--address", "127.0.0.1:1"), "no Ray head answers at '127.0.0.1:1'"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_message(arguments, message):
    found = invoke(*arguments)
    assert found.exit_code == 1
    assert message in found.stderr
    assert "ray exec cluster.yaml" in found.stderr


def test_a_machine_without_a_node_is_told_at_once_where_to_ask(monkeypatch):
    monkeypatch.setattr("edgesplit.cluster.ray.ray_init._has_ray_node", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as head:
        found = invoke("--address", f"127.0.0.1:{head.getsockname()[1]}")
    assert found.exit_code == 1
    assert "this machine runs no Ray node" in found.stderr
    assert "ray exec cluster.yaml '. /etc/edgesplit/node.env" in found.stderr


def test_a_head_that_stands_still_does_not_hold_the_command():
    # signal.pause stands for Ray's call, which neither ends nor lets itself be interrupted.
    code = "import signal\nfrom edgesplit.cli.status import at_most\n"
    code += "with at_most(0.1): signal.pause()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert "the cluster did not answer within 0.1 s" in ran.stderr


# The embedded cluster


def _with_all(sessions):
    """Those on all tiers: they open by and by."""
    return [one for one in sessions if [actor.tier for actor in one.actors] == list(TIERS)]


def test_an_embedded_session_before_and_after_its_first_input():
    with EdgeSplit(small_net(), policy=PLAN) as split:
        (early,) = until(lambda: _with_all(cluster_status().sessions))
        assert early.workloads == ()
        split.infer(X)
        text, found = invoke(), json.loads(invoke("--json").stdout)
        assert text.exit_code == 0
        assert ray.is_initialized()  # the session's connection is left alone
        (workload,) = found["sessions"][0]["workloads"]
        plans = [plan for _, plan, _ in split.switches]  # it may have moved on meanwhile
        assert parse_plan(workload["plan"]) in plans
        assert workload["reason"].startswith("first plan")
        assert [tier["tier"] for tier in workload["tiers"]] == list(TIERS)
        assert {tier["source"].partition(" 2")[0] for tier in workload["tiers"]} == {
            "emulated, measured"
        }
        origins = {link["origin"].partition(" 2")[0] for link in workload["links"]}
        assert origins <= {"emulated, measured", "observed"}
        assert found["missing_tiers"] == []
        assert f"Sequential: {split.plan}" in text.stdout
        assert "all, embedded" in text.stdout
        assert text.stdout.count("modelled: power.toml (device)") == 3


# A cluster of labelled nodes


def test_nodes_without_a_session(cluster, edge):
    found = cluster_status(cluster.address)
    assert not ray.is_initialized()  # left again
    assert found.address == cluster.address
    assert tiers_of(found.nodes) == set(TIERS)
    assert [node.is_head for node in found.nodes] == [True, False, False]
    assert {(node.cpus, node.object_store_bytes) for node in found.nodes} == {(1, 100 * 2**20)}
    assert (found.missing_tiers, found.sessions) == ((), ())
    assert "no session runs; `edgesplit run" in invoke("--address", cluster.address).stdout


def test_another_process_sees_the_session(cluster, edge):
    with session(cluster) as split:
        command = [sys.executable, "-c", "from edgesplit.cli import main; main()", "status"]
        asked = subprocess.run(
            [*command, "--address", cluster.address, "--json"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert asked.returncode == 0, asked.stderr
        (found,) = json.loads(asked.stdout)["sessions"]
        assert found["scheduler"] == "alive"
        listens = {actor["tier"]: actor["data_address"] for actor in found["actors"]}
        assert listens == split.addresses
        assert {actor["state"] for actor in found["actors"]} == {"alive"}
        (workload,) = found["workloads"]
        assert parse_plan(workload["plan"]) == split.plan
        assert len(workload["links"]) == 6
        origins = {link["origin"].partition(" 2")[0] for link in workload["links"]}
        assert origins <= {"measured", "observed"}
        assert all(link["bytes_per_s"] > 0 for link in workload["links"])


def test_a_scheduler_that_stands_still_is_shown_as_silent(cluster, edge):
    with session(cluster) as split, stopped(scheduler_of(split)):
        (found,) = cluster_status(timeout_s=1).sessions
        assert (found.scheduler, found.workloads) == ("silent", ())
        assert {actor.state for actor in found.actors} == {"alive"}


def test_an_actor_that_died_is_lost(cluster, edge):
    with session(cluster) as split:
        ray.kill(actor_of(split, "cloud"))

        def states():
            (found,) = cluster_status().sessions
            return {actor.tier: actor.state for actor in found.actors}

        until(lambda: states() == {"end": "alive", "edge": "alive", "cloud": "lost"})
        assert "cloud  lost" in invoke().stdout


def test_a_removed_node_is_lost_and_its_tier_missing_until_it_is_back(cluster, edge):
    with session(cluster):
        cluster.remove_node(edge)
        found = until(lambda: (now := cluster_status()).missing_tiers and now)
        assert found.missing_tiers == ("edge",)
        (lost,) = [node for node in found.nodes if not node.is_alive]
        assert (lost.tier, lost.cpus) == ("edge", 0)
        text = invoke().stdout
        assert f"--address={cluster.address} --labels=tier=edge`" in text
        assert "lost" in text
        again = cluster.add_node(**NODE, labels={"tier": "edge"})
        cluster.wait_for_nodes()
        healed = cluster_status()
        assert healed.missing_tiers == ()
        assert all(node.is_alive for node in healed.nodes)
        cluster.remove_node(again)


def test_a_node_without_a_label_plays_no_tier(cluster):
    unlabelled = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    found = invoke("--address", cluster.address)
    cluster.remove_node(unlabelled)
    assert "no tier" in found.stdout
    assert "missing: no node plays tier edge" in found.stdout
