"""Names, rates, state and quotas: nothing here touches the system."""

import json
from pathlib import Path

import pytest

from edgesplit.errors import TestbedError
from edgesplit.testbed.cpu import quota
from edgesplit.testbed.layout import THREE_HOSTS, HostSpec, Layout
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


def hosts_of(*names, role="edge"):
    return tuple(HostSpec(name, role) for name in names)


def test_pairs_and_hosts():
    layout = Layout()
    assert layout.pair("end-cloud") == ("end", "cloud")
    for text in ("end", "end-end", "end-moon", "-", ""):
        with pytest.raises(TestbedError, match="a link is two hosts such as end-edge, given"):
            layout.pair(text)
    with pytest.raises(TestbedError, match="its hosts are end, edge, cloud"):
        layout.known("moon")


def test_pairs_of_hosts_with_hyphens():
    layout = Layout(hosts=hosts_of("end", "end-1", "edge-2", "1-edge"))
    assert layout.pair("end-1-edge-2") == ("end-1", "edge-2")
    assert layout.pair("edge-2-end") == ("edge-2", "end")
    assert layout.pair("1-edge-end-1") == ("1-edge", "end-1")


def test_hosts_of_a_layout():
    hosts = (*hosts_of("end-1", "end-2", role="end"), *hosts_of("edge"))
    layout = Layout("nd", "10.1.2", (*hosts, HostSpec("big", "cloud"), HostSpec("pc", "cloud")))
    assert layout.names == ("end-1", "end-2", "edge", "big", "pc")
    assert [layout.address(name) for name in layout.names] == [f"10.1.2.{n}" for n in range(11, 16)]
    assert (layout.role("end-2"), layout.device("end-2")) == ("end", "nd-end-2")
    assert layout.head == "big"
    assert Layout(hosts=hosts).head == "end-1"
    assert (Layout().hosts, Layout().head) == (THREE_HOSTS, "cloud")


def test_files_of_a_host_are_not_the_testbeds():
    layout = Layout(hosts=hosts_of("key"))
    assert layout.host_folder("key") != layout.key


@pytest.mark.parametrize(
    ("hosts", "complaint"),
    [
        ((), "at least one host, which runs Ray's head; given none"),
        (hosts_of(*(f"h{n}" for n in range(245))), "has addresses for 244 hosts, given 245"),
        (hosts_of("edge", "edge"), "two hosts are called edge"),
        (hosts_of("br"), "no host can be called br"),
        (hosts_of("camera-door"), "'camera-door' of a host is too long: it has at most 10 letters"),
        (hosts_of("a", "a-b", "b-c", "c"), "the link a-b-c would mean two pairs of hosts"),
    ],
)
def test_hosts_that_no_testbed_can_have(hosts, complaint):
    with pytest.raises(TestbedError, match=complaint):
        Layout(hosts=hosts)


def test_as_many_hosts_as_there_are_addresses():
    layout = Layout(hosts=hosts_of(*(f"h{n}" for n in range(244))))
    assert layout.address("h243") == "10.83.47.254"


@pytest.mark.parametrize("name", ["", "Edge", "-edge", "edge-", "a b", "a/b", "..", 7, None])
def test_no_host_names(name):
    with pytest.raises(TestbedError, match="a host's name is small letters"):
        HostSpec(name, "edge")


@pytest.mark.parametrize("role", ["", "an edge", "-edge", 7, None])
def test_no_roles(role):
    with pytest.raises(TestbedError, match="the role of host x: ES_TIER: given"):
        HostSpec("x", role)


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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Of a testbed abc, whose state is of the test."""
    monkeypatch.setattr("edgesplit.testbed.layout.TESTBEDS", tmp_path)
    (tmp_path / "abc").mkdir()
    return tmp_path / "abc"


def test_state_is_read_back_as_it_was_written(folder):
    hosts = (HostSpec("cam-1", "end"), HostSpec("cam-2", "end"), HostSpec("edge", "edge"))
    state = State(
        Layout("abc", "10.1.2", hosts),
        {"cam-1": Process(12, "345")},
        {("cam-1", "edge"): 40e6},
        {"cam-2": 0.2},
        frozenset({("edge", "cam-2")}),
    )
    write_state(state)
    assert read_state(Layout("abc")) == state
    assert [path.name for path in folder.iterdir()] == ["state.json"]


def test_the_state_of_an_older_version_has_the_hosts_that_are_given(folder):
    given = Layout("abc", "10.1.2")
    write_state(State(given, {"end": Process(12, "345")}, {("end", "edge"): 1e6}))
    file = folder / "state.json"
    found = json.loads(file.read_text())
    found.pop("layout")
    file.write_text(json.dumps(found))
    assert read_state(given).layout is given
    assert read_state(given).rates == {("end", "edge"): 1e6}


def test_no_state_and_damaged_state(folder):
    assert read_state(Layout("abc")) is None
    (folder / "state.json").write_text("{")
    with pytest.raises(TestbedError, match="is damaged"):
        read_state(Layout("abc"))


def test_a_state_that_only_root_can_read(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(TestbedError, match=r"only root may look .* use sudo"):
        read_state(Layout("abc"))


def test_a_process_is_not_taken_for_a_later_one_of_its_number():
    assert not Process(1, "some other tick").is_alive
    assert not Process(2**22 + 1, "1").is_alive
