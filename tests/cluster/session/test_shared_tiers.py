"""Several sessions on one cluster share its actors, and none harms another."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import ray
import torch
from inside_session import actor_of, handle_of, scheduler_of, session_id_of
from labelled_cluster import labelled_cluster
from waiting import until

from edgesplit import Config, EdgeSplit
from edgesplit.cluster.session.status import cluster_status
from experiments.shared.small_net import small_net

CONFIG = Config(tiers=("end", "cloud"), threads=1, runtimes=("torch",))
X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
PLAN = "end:0-3 | cloud:3-8"
PROGRAM = """
import sys, time, torch
from edgesplit import Config, EdgeSplit
from experiments.shared.small_net import small_net
config = Config(tiers=("end", "cloud"), threads=1, runtimes=("torch",))
with EdgeSplit(small_net(), address=sys.argv[1], config=config) as split:
    split.infer(torch.zeros(1, 3, 32, 32))
    print("answered", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def cluster():
    with labelled_cluster("end", "cloud") as running:
        yield running


@pytest.fixture
def two(cluster):
    """Two sessions with one model, each of which has answered."""
    with (
        EdgeSplit(small_net(), address=cluster.address, config=CONFIG) as ann,
        EdgeSplit(small_net(), address=cluster.address, config=CONFIG) as ben,
    ):
        for split in (ann, ben):
            split.infer_on(PLAN, X)
        yield ann, ben


def process_of(actor):
    return ray.get(actor.__ray_call__.remote(lambda _: os.getpid()), timeout=30)


def sessions():
    return {session.id for session in cluster_status().sessions}


def test_they_have_one_actor_per_tier_and_one_scheduler(two):
    ann, ben = two
    for tier in CONFIG.tiers:
        assert process_of(actor_of(ann, tier)) == process_of(actor_of(ben, tier))
    assert process_of(scheduler_of(ann)) == process_of(scheduler_of(ben))
    assert ann.addresses == ben.addresses
    assert sessions() == {session_id_of(ann), session_id_of(ben)}
    assert torch.equal(ann.infer_on(PLAN, X), ben.infer_on(PLAN, X))


def test_one_that_ends_leaves_the_other_as_it_was(cluster, two):
    ann, ben = two
    with EdgeSplit(small_net(), address=cluster.address, config=CONFIG) as third:
        whole = third.infer_on(PLAN, X)
        known = session_id_of(third)
    assert known not in sessions()
    assert torch.equal(ann.infer_on(PLAN, X), whole)
    assert torch.equal(ben.infer_on(PLAN, X), whole)
    assert ben.last_record.why == ""


def test_one_that_asks_nothing_for_long_after_it_was_opened_is_answered(cluster, monkeypatch):
    """Its tiers have given it up meanwhile: nobody asks after it before its first input."""
    monkeypatch.setattr("edgesplit.cluster.session.session_tiers._WITHOUT_WORD_S", 0.0)
    with EdgeSplit(small_net(), address=cluster.address, config=CONFIG) as split:
        known = session_id_of(split)
        until(lambda: known in sessions(), 60)
        for tier in CONFIG.tiers:
            ray.get(handle_of(split, tier).end.remote(), timeout=30)
        assert known not in sessions()
        assert torch.equal(split.infer_on(PLAN, X), split.infer_on("end:0-8", X))
        assert split.last_record.why == ""


@pytest.mark.parametrize("who", ["the scheduler", "end", "cloud"])
def test_when_what_they_share_dies_every_request_is_answered_and_it_comes_back(two, who, caplog):
    whole = two[0].infer_on("end:0-8", X)
    failed, stopped = [], threading.Event()

    def ask(split):
        while not stopped.is_set():
            try:
                if not torch.equal(split.infer(X), whole):
                    failed.append("another answer")
            except Exception as error:
                failed.append(repr(error))

    asking = [threading.Thread(target=ask, args=(split,)) for split in two]
    for thread in asking:
        thread.start()
    actor = scheduler_of(two[0]) if who == "the scheduler" else actor_of(two[0], who)
    before = process_of(actor)
    os.kill(before, signal.SIGKILL)

    def is_back(split):
        split.infer_on(PLAN, X)
        return split.last_record.why == "" and process_of(actor) != before

    def plans_again(split):
        return bool(split.explain().running)

    try:
        for split in two:
            until(lambda split=split: _quietly(is_back, split), 90)
            until(lambda split=split: _quietly(plans_again, split), 60)
    finally:
        stopped.set()
        for thread in asking:
            thread.join(60)
    assert failed == []
    assert sessions() >= {session_id_of(split) for split in two}
    name = who if who == "the scheduler" else f"tier {who!r}"
    told = f"{name} was started again"
    until(lambda: caplog.messages.count(told) >= 2, 60)  # the supervisors look once a second
    time.sleep(3.0)
    assert caplog.messages.count(told) == 2  # once by each session


def _quietly(look, split):
    """False while the actor is away."""
    try:
        return look(split)
    except Exception:
        return False


def test_a_session_whose_program_was_killed_is_given_up_and_others_go_on(cluster, two):
    own = {session_id_of(split) for split in two}
    command = [sys.executable, "-c", PROGRAM, cluster.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "answered\n"
        assert sessions() > own
        program.kill()
    until(lambda: sessions() == own, 90)
    for split in two:
        split.infer_on(PLAN, X)
        assert split.last_record.why == ""
