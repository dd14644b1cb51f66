"""Hosts that lack a program are sent it in parts, each byte by the caller once; others nothing."""

import contextlib
import os
import signal
import subprocess
import threading
import zlib

import numpy as np
import pytest
import ray
import torch
from inside_session import actor_of, give_so, session_of
from labelled_cluster import labelled_cluster
from torch import nn

from edgesplit import Config, EdgeSplit
from edgesplit.core.distribution import PART_BYTES, Distribution
from edgesplit.core.record import CALLER
from edgesplit.node.program.store import ProgramStore

TIERS = ("end", "edge", "cloud")
PLAN = "end:0-1 | edge:1-2 | cloud:2-3"
WIDE = 1500  # two weights of 9 MB
CONFIG = Config(threads=1, runtimes=("torch",))


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="module")
def cluster(caches):
    with labelled_cluster(*TIERS, caches=caches) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, caches):
    """The caller is another host than its tiers."""
    monkeypatch.setenv("EDGESPLIT_CACHE", str(caches / "caller"))


@pytest.fixture
def open_split(cluster):
    def split(model):
        return EdgeSplit(model, address=cluster.address, config=CONFIG)

    return split


def wide(name):
    """A model of two layers; another one for each name."""
    torch.manual_seed(zlib.crc32(name.encode()))
    return nn.Sequential(nn.Linear(WIDE, WIDE), nn.ReLU(), nn.Linear(WIDE, WIDE)).eval()


def weight_bytes(model):
    return sum(weight.nbytes for weight in model.state_dict().values())


def parts(caches):
    return [path for tier in TIERS for path in (caches / tier / "parts").glob("*")]


def is_right(split, model):
    x = torch.randn(2, WIDE)
    return torch.equal(split.infer_on(PLAN, x), model(x))


def process_id(split, tier):
    """Of a tier's actor, once it has started."""
    return ray.get(actor_of(split, tier).__ray_call__.remote(lambda actor: os.getpid()), timeout=60)


@pytest.fixture
def when_parts_came(monkeypatch):
    """Has something done once, when a tier has taken so many parts."""

    def set_up(tier, count, act):
        came, arrived = [], Distribution.arrived

        def look(distribution, part, *rest):
            arrived(distribution, part, *rest)
            came.extend([part] * (part.tier == tier))
            if len(came) == count and part.tier == tier:
                act()

        monkeypatch.setattr(Distribution, "arrived", look)

    return set_up


def test_the_caller_sends_each_byte_once_and_a_second_session_none(open_split, caches, caplog):
    model = wide("once")
    caplog.set_level("INFO", "edgesplit")
    with open_split(model) as split:
        assert is_right(split, model)
        sent = split.sent_weight_bytes
        assert 0 <= sent[CALLER] - weight_bytes(model) < 8192  # the files' headers
        assert sum(sent.values()) == 3 * sent[CALLER], "the other hosts have it from one another"
        assert parts(caches) == []
    assert "sent: 18.0 MB from caller, " in caplog.text
    with open_split(model) as split:
        assert is_right(split, model)
        assert split.sent_weight_bytes == {}
    assert "sent: none" in caplog.text


def test_a_transfer_that_broke_off_goes_on(open_split, caches, when_parts_came):
    model = wide("broken off")

    def end():
        raise KeyboardInterrupt

    when_parts_came("edge", 3, end)
    with open_split(model) as split, pytest.raises(KeyboardInterrupt):
        is_right(split, model)
    assert parts(caches)
    with open_split(model) as split:
        assert is_right(split, model)
        sent = split.sent_weight_bytes
    assert sent.get(CALLER, 0) <= weight_bytes(model) - PART_BYTES
    assert parts(caches) == []


def test_a_tier_that_is_killed_while_it_fetches_goes_on(open_split, caches, when_parts_came):
    model = wide("killed")
    with open_split(model) as split:
        process = process_id(split, "edge")
        when_parts_came("edge", 2, lambda: os.kill(process, signal.SIGKILL))
        assert is_right(split, model)
        assert process_id(split, "edge") != process
    assert parts(caches) == []
    assert [ProgramStore(caches / tier).kept.verify() for tier in TIERS] == [[]] * 3


def test_two_sessions_fetch_the_same_at_once(open_split, caches):
    """Each with processes of its own on every host."""
    model, right, both = wide("at once"), [], threading.Barrier(2)

    def run():
        with open_split(model) as split:
            session_of(split).ready()
            both.wait(120)
            right.append(is_right(split, model))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert right == [True, True]
    assert parts(caches) == []
    assert [ProgramStore(caches / tier).kept.verify() for tier in TIERS] == [[]] * 3


@pytest.mark.parametrize("how", ["nothing", "wrong bytes"])
def test_the_caller_sends_what_a_tier_gives_wrong_or_not(open_split, caches, how):
    def give_part(file, start, stop):
        if how == "nothing":
            raise OSError("no way from here to there")
        return np.zeros(stop - start, np.uint8)

    model = wide(how)
    with open_split(model) as split:
        for tier in TIERS:
            give_so(split, tier, give_part)
        assert is_right(split, model)
        assert split.sent_weight_bytes[CALLER] > 2.5 * weight_bytes(model)
    assert parts(caches) == []
    assert [ProgramStore(caches / tier).kept.verify() for tier in TIERS] == [[]] * 3


@contextlib.contextmanager
def in_place_of(folder):
    """That path is free for something else meanwhile."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    try:
        yield
    finally:
        aside.rename(folder)


def test_a_host_without_a_disk_keeps_it_in_memory(open_split, caches):
    model, way = wide("no disk"), caches / "edge"
    with in_place_of(way):
        way.write_text("in the way")
        with open_split(model) as split:
            assert is_right(split, model)
            sent = split.sent_weight_bytes
        way.unlink()
    assert sum(sent.values()) == 3 * sent[CALLER]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_becomes_full_while_it_arrives(open_split, caches):
    """One of the two weights fits."""
    model, way = wide("full"), caches / "edge"
    with in_place_of(way):
        way.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=14m", "tmpfs", str(way)], check=True)
        try:
            with open_split(model) as split:
                assert is_right(split, model)
                assert split.sent_weight_bytes[CALLER] >= weight_bytes(model)
            assert [path for path in way.rglob("*") if path.is_file() and path.stat().st_size] == []
        finally:
            subprocess.run(["umount", "-l", str(way)], check=True)
            way.rmdir()
