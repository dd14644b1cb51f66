"""Names, rates, state and quotas: nothing here touches the system."""

import pytest

from edgesplit.errors import TestbedError
from edgesplit.testbed.cpu import quota
from edgesplit.testbed.layout import Layout, known, parse_pair
from edgesplit.testbed.rate import parse_rate, rate_text
from edgesplit.testbed.state import Process, State, read_state, write_state


@pytest.mark.parametrize(
    ("text", "bytes_per_s"),
    [
        ("40MB/s", 40e6),
        ("5Mbit/s", 625e3),
        ("1.5 kB/s", 1500.0),
        ("8bit/s", 1.0),
        ("1Gbit/s", 125e6),
    ],
)
def test_rates(text, bytes_per_s):
    assert parse_rate(text) == bytes_per_s


@pytest.mark.parametrize("text", ["", "5", "0MB/s", "-1MB/s", "5 M", "5mB/s", "nanMB/s", "5MB"])
def test_no_rates(text):
    with pytest.raises(TestbedError, match="a rate is a number above 0"):
        parse_rate(text)


def test_rate_text_is_read_back():
    assert [rate_text(rate) for rate in (40e6, 625e3)] == ["40MB/s", "5Mbit/s"]
    assert parse_rate(rate_text(312_500.0)) == 312_500.0


def test_pairs_and_hosts():
    assert parse_pair("end-cloud") == ("end", "cloud")
    for text in ("end", "end-end", "end-moon", "-", ""):
        with pytest.raises(TestbedError):
            parse_pair(text)
    with pytest.raises(TestbedError, match="its hosts are end, edge, cloud"):
        known("moon")


def test_names_fit_into_a_device():
    layout = Layout("abcdefgh", "10.1.2")
    assert len(layout.device("cloud")) <= 15
    assert [layout.address(host) for host in ("end", "edge", "cloud")] == [
        "10.1.2.11",
        "10.1.2.12",
        "10.1.2.13",
    ]
    for name in ("", "Upper", "too-long-name", "ninechars", "a/b"):
        with pytest.raises(TestbedError, match="1 to 8 small letters"):
            Layout(name)


@pytest.mark.parametrize(
    ("cores", "expected"),
    [(0.3, (1500, 5000)), (0.2, (1000, 5000)), (1.0, (5000, 5000)), (0.05, (1000, 20000))],
)
def test_quota_has_a_short_period_and_the_kernels_least_quota(cores, expected):
    assert quota(cores) == expected


@pytest.mark.parametrize("cores", [0.0, -1.0, float("nan"), 1e9])
def test_no_quota(cores):
    with pytest.raises(TestbedError, match="cores"):
        quota(cores)


def test_state_is_read_back_as_it_was_written(tmp_path):
    state = State(
        {"end": Process(12, "345")},
        {("end", "edge"): 40e6},
        {"end": 0.2},
        frozenset({("edge", "cloud")}),
    )
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_no_state_and_damaged_state(tmp_path):
    assert read_state(tmp_path) is None
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(TestbedError, match="is damaged"):
        read_state(tmp_path)


def test_a_process_is_not_taken_for_a_later_one_of_its_number():
    assert not Process(1, "some other tick").is_alive
    assert not Process(2**22 + 1, "1").is_alive
