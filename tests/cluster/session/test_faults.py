"""Tiers' processes that are killed and frozen under load: every answer comes, right, in order."""

import signal
import threading
import time

import pytest
import ray
import torch
from faults import freeze
from inside_session import scheduler_of

from edgesplit import Config, EdgeSplit, Emulation
from edgesplit.errors import InputError, RequestError
from experiments.chaos.faults import process_of
from experiments.shared.small_net import small_net

PLAN = "end:0-3 | edge:3-5 | cloud:5-8"

# exact: requests that wait together run one by one, to the bit.
CONFIG = Config(emulation=Emulation(), hedge=0.0, exact=True)

pytestmark = pytest.mark.usefixtures("one_cluster")


@pytest.fixture(scope="module")
def model():
    return small_net()


@pytest.fixture
def split(model):
    with EdgeSplit(model, policy=PLAN, config=CONFIG) as running:
        running.infer(inputs(0))
        yield running


def inputs(n):
    return torch.full((1, 3, 32, 32), n / 7.0)


def references(split, count):
    return [split.infer_on("end:0-8", inputs(n)) for n in range(count)]


@pytest.mark.parametrize("tier", ["cloud", "end"])
def test_a_process_killed_under_load_costs_no_answer(split, tier):
    expected = references(split, 7)
    process, wrong, began = process_of(split, tier), [], threading.Event()

    def call(seed):
        for n in range(seed, seed + 60):
            if not torch.equal(split.infer(inputs(n % 7)), expected[n % 7]):
                wrong.append((seed, n))
            if n == seed + 20:
                began.set()

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    before = len(split.records())
    for thread in threads:
        thread.start()
    assert began.wait(60)
    process.kill()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    frame = split.records().iloc[before:]
    assert len(frame) == 240
    assert frame["id"].is_unique
    spared = frame[frame["why"] != ""]
    assert set(spared["finished_by"]) == ({"edge"} if tier == "cloud" else {"caller"})
    assert set(spared["why"]) <= {f"{tier} unreachable", f"{tier} silent"}
    assert spared["total_energy_j"].isna().all() == (tier == "end")


def batch(n):
    return torch.cat([inputs(k) for k in range(n)])


def larger(n):
    return torch.full((1, 3, 32 + 8 * n, 32), 0.3)


@pytest.mark.parametrize("another", [batch, larger])
def test_a_first_input_of_its_size_is_answered_while_a_tier_is_lost(split, model, another):
    """Whether the tier is missed depends on the moment, so several sizes are tried."""
    latest = split.graph
    for n in range(2, 12):
        x = another(n)
        process_of(split, "cloud").kill()
        y = split.infer(x)
        assert torch.allclose(y, model(x), atol=1e-5)
        record = split.last_record
        if record.why == "end unknown":
            break
        latest = split.graph
    assert (record.why, record.finished_by) == ("end unknown", "caller")
    assert split.graph is latest  # what no tier knows is not what plan and explain() speak of
    until_s = time.monotonic() + 60
    while split.last_record.why == "end unknown":  # prepared again with each input
        assert time.monotonic() < until_s
        assert torch.equal(split.infer(x), y)
    assert split.graph is not latest
    assert split.graph.payload_bytes[0] == x.nbytes


def test_map_with_requests_in_flight_while_the_cloud_dies(split):
    expected = references(split, 7)
    process = process_of(split, "cloud")
    for n, y in enumerate(split.map(inputs(k % 7) for k in range(60))):
        assert torch.equal(y, expected[n % 7])
        if n == 20:
            process.kill()
    assert n == 59


def test_an_input_that_is_changed_while_it_is_in_flight_is_the_one_that_was_given(split):
    expected, buffer = references(split, 7), torch.empty(1, 3, 32, 32)
    process = process_of(split, "end")

    def reused():
        for n in range(40):
            if n == 20:
                process.kill()
            yield buffer.copy_(inputs(n % 7))

    for n, y in enumerate(split.map(reused())):
        assert torch.equal(y, expected[n % 7])


@pytest.mark.parametrize("fallback", ["anywhere", "none"])
def test_a_reused_buffer_is_taken_as_it_was_given_also_where_busy_tiers_ask_again(model, fallback):
    config = Config(fallback=fallback, in_flight=32)
    with EdgeSplit(model, policy="end-only", config=config) as split:
        expected, wrong = references(split, 7), []

        def stream():
            buffer = torch.empty(1, 3, 32, 32)
            batches = (buffer.copy_(inputs(n % 7)) for n in range(100))
            for n, y in enumerate(split.map(batches)):
                if not torch.equal(y, expected[n % 7]):
                    wrong.append(n)

        threads = [threading.Thread(target=stream) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(split.records()) == 7 + 5 * 100
    assert not wrong


def test_what_is_sent_is_what_lay_in_the_buffer_when_the_iterator_gave_it(split):
    expected, buffer, given = references(split, 7), inputs(0), []

    def batches():
        for _ in range(30):
            given.append(round(buffer[0, 0, 0, 0].item() * 7))
            yield buffer

    for n, y in enumerate(split.map(batches())):
        assert torch.equal(y, expected[given[n]])
        buffer.copy_(inputs((n + 1) % 7))


def test_a_frozen_tier_is_done_without_within_the_bound(split):
    expected = split.infer(inputs(1))
    process = process_of(split, "cloud")
    freeze(process.pid)
    try:
        assert torch.equal(split.infer(inputs(1)), expected)
        record = split.last_record  # over the bound it would be the caller who finished it
        assert (record.finished_by, record.why) == ("edge", "cloud silent")
    finally:
        process.send_signal(signal.SIGCONT)


def test_a_plan_measured_as_it_is_fails_and_time_limits_are_checked(model):
    config = Config(emulation=Emulation(), fallback="none")
    with EdgeSplit(model, policy=PLAN, config=config) as split:
        split.infer_within(30.0, inputs(0))
        for limit_s in (0, -1.0, float("nan"), "soon", 1e9):
            with pytest.raises(InputError, match="timeout_s, in seconds, must be a number above 0"):
                split.infer_within(limit_s, inputs(0))
        process_of(split, "cloud").kill()
        with pytest.raises(RequestError, match="cloud"):
            split.infer(inputs(0))


def test_the_scheduler_s_end_stops_no_request(split):
    expected = split.infer(inputs(1))
    ray.kill(scheduler_of(split))
    for _ in range(20):
        assert torch.equal(split.infer(inputs(1)), expected)
    assert (split.records()["why"] == "").all()
