"""What stays prepared, and that it is built once."""

import linecache
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from edgesplit.node.program.export.model import export
from edgesplit.node.program.prepared_cache import PreparedCache

LIMIT_S = 10.0


@dataclass(frozen=True)
class Range:
    key: str
    n_bytes: int = 1


def fill(cache, *keys, n_bytes=1):
    for key in keys:
        cache.get(key, lambda key=key: Range(key, n_bytes))


def kept(cache, keys):
    return [key for key in keys if key in cache]


def test_the_one_not_used_for_longest_goes():
    cache = PreparedCache(limit_bytes=100, limit_count=3)
    fill(cache, "a", "b", "c", "a", "d")
    assert kept(cache, "abcd") == ["a", "c", "d"]
    assert len(cache) == cache.n_bytes == 3


def test_memory_is_bounded():
    cache = PreparedCache(limit_bytes=10, limit_count=100)
    fill(cache, "a", "b", n_bytes=4)
    fill(cache, "c", n_bytes=5)
    assert kept(cache, "abc") == ["b", "c"]
    assert cache.n_bytes == 9


def test_the_last_one_stays_even_if_it_is_over_the_limit():
    cache = PreparedCache(limit_bytes=10, limit_count=100)
    fill(cache, "a", "b")
    fill(cache, "large", n_bytes=11)
    assert kept(cache, ["a", "b", "large"]) == ["large"]
    fill(cache, "c")
    assert kept(cache, ["large", "c"]) == ["c"]


def test_what_is_kept_is_not_built_again():
    cache = PreparedCache(10, 10)
    first = cache.get("a", lambda: Range("a"))
    assert cache.get("a", lambda: pytest.fail("built twice")) is first


def test_what_was_asked_for_last_is_not_kept_once_it_is_dropped():
    cache, built = PreparedCache(10, 10), []

    def build():
        built.append(Range("a"))
        return built[-1]

    assert cache.get("a", build) is cache.get("a", build) is cache.get("a", build)
    cache.drop(lambda key: key == "a")
    assert "a" not in cache
    assert cache.get("a", build) is built[1]


def test_what_was_dropped_lives_on_with_its_user():
    cache = PreparedCache(10, 1)
    used = cache.get("a", lambda: Range("a"))
    fill(cache, "b")
    assert "a" not in cache
    assert used == Range("a")
    assert cache.get("a", lambda: Range("a")) is not used


def test_threads_that_ask_for_the_same_range_build_it_once():
    cache = PreparedCache(10, 10)
    asked, go, builds = threading.Barrier(4), threading.Event(), []

    def build():
        builds.append(1)
        assert go.wait(LIMIT_S)
        return Range("a")

    def ask():
        asked.wait(LIMIT_S)
        return cache.get("a", build)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        go.set()
        got = {id(future.result(LIMIT_S)) for future in asking}
    assert len(got) == len(builds) == 1


def test_a_range_at_hand_is_not_waited_for():
    cache = PreparedCache(10, 10)
    fill(cache, "a")
    began, go = threading.Event(), threading.Event()

    def slow():
        began.set()
        assert go.wait(LIMIT_S)
        return Range("b")

    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(cache.get, "b", slow)
        assert began.wait(LIMIT_S)
        assert cache.get("a", lambda: pytest.fail("built twice")) == Range("a")
        assert cache.n_bytes == 1
        fill(cache, "c", n_bytes=10)
        assert kept(cache, "abc") == ["b", "c"]  # what is being built is not dropped
        go.set()
        assert building.result(LIMIT_S) == Range("b")


def test_a_build_that_fails_leaves_nothing_and_is_tried_again():
    cache = PreparedCache(10, 10)

    def fail():
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        cache.get("a", fail)
    assert "a" not in cache
    assert len(cache) == 0
    assert cache.get("a", lambda: Range("a")) == Range("a")


def test_who_waited_for_a_build_that_failed_builds_it_himself():
    cache = PreparedCache(10, 10)
    began, go = threading.Event(), threading.Event()

    def fail():
        began.set()
        assert go.wait(LIMIT_S)
        raise ValueError("no memory")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, "a", fail)
        assert began.wait(LIMIT_S)
        second = pool.submit(cache.get, "a", lambda: Range("a"))
        go.set()
        with pytest.raises(ValueError, match="no memory"):
            first.result(LIMIT_S)
        assert second.result(LIMIT_S) == Range("a")
    assert "a" in cache


def test_modules_that_are_dropped_leave_no_source_behind():
    """fx keeps the source of each for tracebacks: 150 per input size of a larger network."""
    program = export(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), (torch.rand(1, 2),)).program
    before = len(linecache.cache)
    program.steps()
    program.segment(0, 2)
    assert len(linecache.cache) == before
