"""Tiers and scheduler that are killed while requests flow: answers stay right, both come back."""

import time
from dataclasses import replace

import pytest
import torch
from inside_session import session_id_of, workload_of

from edgesplit import Config, EdgeSplit, Emulation
from edgesplit.cluster.actors.checkpoint import _SPACE, Checkpoint, _key
from experiments.chaos.faults import process_of
from experiments.shared.small_net import small_net

PLAN = "end:0-2 | edge:2-5 | cloud:5-8"
LIMIT_S = 90.0


@pytest.fixture(scope="module")
def model():
    return small_net()


@pytest.fixture(scope="module")
def x():
    return torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def split(model, x):
    config = Config(emulation=Emulation(), runtimes=("torch",), hedge=0.0)
    with EdgeSplit(model, policy=PLAN, config=config) as running:
        running.infer(x)
        yield running


def wait_for(condition, what):
    until_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until_s, what
        time.sleep(0.1)


def kill(process):
    process.kill()
    process.wait(LIMIT_S)


def reason_of_last(split):
    return split.switches[-1][2]


@pytest.mark.parametrize("tier", ["edge", "end"])
def test_a_killed_tier_is_done_without_and_comes_back(split, x, tier):
    expected = split.infer_on("end:0-8", x)
    before, old = len(split.records()), split.addresses[tier]
    kill(process_of(split, tier))
    for _ in range(20):
        assert torch.equal(split.infer(x), expected)
    wait_for(lambda: split.addresses[tier] != old, "a new address")
    assert reason_of_last(split) == f"{tier} is at another address"

    def is_served_as_planned():
        assert torch.equal(split.infer(x), expected)
        return [s.tier for s in split.last_record.timings] == ["end", "edge", "cloud"]

    wait_for(is_served_as_planned, "the planned route")
    records = split.records()
    assert len(records) > before + 20
    assert torch.equal(split.infer_on(PLAN, x), expected)


def test_a_killed_scheduler_goes_on_where_it_was(split, x):
    expected = split.infer_on("end:0-8", x)
    plans = len(split.switches)
    kill(process_of(split, "scheduler"))
    for _ in range(20):
        assert torch.equal(split.infer(x), expected)
    wait_for(lambda: len(split.switches) > plans, "the scheduler to go on")
    assert reason_of_last(split) == "the scheduler was restarted"
    assert str(split.plan) == PLAN
    assert split.profile.names == ("end", "edge", "cloud")
    assert torch.equal(split.infer(x), expected)


def test_a_tier_that_came_back_after_the_last_checkpoint_is_not_left_out(split, x):
    """The checkpoint is up to 5 s old: in it the tier may still be lost."""
    session, workload = session_id_of(split), workload_of(split).id
    kept = Checkpoint(session)
    wait_for(lambda: kept.load(workload) is not None, "a checkpoint")
    state, version = kept.load(workload)
    kept.save(workload, (replace(state, lost=frozenset({"cloud"})), version))
    plans = len(split.switches)
    kill(process_of(split, "scheduler"))
    wait_for(lambda: len(split.switches) > plans, "the scheduler to go on")

    def is_taken_back():
        split.infer(x)  # a tier in doubt is asked beside requests only
        return split.excluded_tiers == ()

    wait_for(is_taken_back, "the cloud to be taken back")


def test_a_foreign_checkpoint_is_not_read(split, x):
    session, workload = session_id_of(split), workload_of(split).id
    mine = Checkpoint(session)
    wait_for(lambda: mine.load(workload) is not None, "a checkpoint")
    from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

    value = _internal_kv_get(_key(session, workload), namespace=_SPACE)
    other = Checkpoint("another")
    _internal_kv_put(_key("another", workload), value, namespace=_SPACE)
    assert other.load(workload) is None
    assert mine.load("unknown") is None
