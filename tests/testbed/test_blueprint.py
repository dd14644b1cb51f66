"""What `--hosts` may say, as text and as a file: nothing here touches the system."""

from pathlib import Path

import pytest

from edgesplit.errors import TestbedError
from edgesplit.testbed import blueprint
from edgesplit.testbed.blueprint import Blueprint, read_blueprint
from edgesplit.testbed.layout import THREE_HOSTS, HostSpec

FILE = """
hosts:
  cam-1: {role: end, cpus: 0.2}
  cam-2: {role: end, cpus: 1}
  edge: {role: edge}
  pc:
    role: cloud
links:
  cam-1-edge: 5Mbit/s
  edge-pc: 40MB/s
"""


@pytest.fixture
def read(tmp_path):
    """Read a file with that text, for a testbed of that name."""

    def read(text, *name):
        (tmp_path / "hosts.yaml").write_text(text)
        return read_blueprint(str(tmp_path / "hosts.yaml"), *name)

    return read


def test_roles_with_their_number():
    found = read_blueprint(" end=3, edge = 2,cloud=1")
    names = [(host.name, host.role) for host in found.hosts]
    assert names == [
        *(("end-1", "end"), ("end-2", "end"), ("end-3", "end")),
        *(("edge-1", "edge"), ("edge-2", "edge"), ("cloud", "cloud")),
    ]
    assert (found.cores, found.rates) == ({}, {})
    assert read_blueprint("end=1,edge=1,cloud=1") == Blueprint(THREE_HOSTS)


@pytest.mark.parametrize(
    "text",
    ["", "end", "end=", "=2", "end=0", "end=-1", "end=1.5", "end=1,", "end=1;edge=2", "x.yam"],
)
def test_no_numbers_of_hosts(text):
    with pytest.raises(TestbedError, match=r"such as end=3,edge=2,cloud=1, or a file whose name"):
        read_blueprint(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("end=1,edge=2,end=2", "role end stands 2 times"),
        ("end=243,cloud=2", "addresses for 244 hosts, given 245"),
        ("end=999999999999", "addresses for 244 hosts, given 999999999999"),
        ("edge=2,edge-1=1", "two hosts are called edge-1"),
        ("br=1", "no host can be called br"),
        ("microphone=12", "'microphone-1' of a host is too long"),
        ("End=2", "a host's name is small letters"),
    ],
)
def test_hosts_that_cannot_be(text, complaint):
    with pytest.raises(TestbedError, match=complaint):
        read_blueprint(text)


def test_a_file(read):
    found = read(FILE)
    assert found.hosts == (
        *(HostSpec("cam-1", "end"), HostSpec("cam-2", "end")),
        *(HostSpec("edge", "edge"), HostSpec("pc", "cloud")),
    )
    assert found.cores == {"cam-1": 0.2, "cam-2": 1.0}
    assert found.rates == {
        ("cam-1", "edge"): 625e3,
        ("edge", "cam-1"): 625e3,
        ("edge", "pc"): 40e6,
        ("pc", "edge"): 40e6,
    }


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        (FILE, "", "the file: expected lines KEY: VALUE, given None"),
        (FILE, "links: {}", "it has no `hosts:`"),
        (FILE, "hosts: {}", "at least one host, which runs Ray's head"),
        (FILE, "hosts: [end, edge]", r"hosts: expected lines KEY: VALUE, given \['end', 'edge'\]"),
        (FILE, "hosts: {", "cannot read the hosts in .*hosts.yaml"),
        ("hosts:", "host:", "the file: unknown host; the keys are hosts, links"),
        ("cpus: 1", "cores: 1", "host cam-2: unknown cores; the keys are cpus, role"),
        ("cpus: 1", "cpus: two", "host cam-2: cpus is a number of cores such as 0.2, given 'two'"),
        ("cpus: 1", "cpus: true", "host cam-2: cpus is a number"),
        ("cpus: 1", "cpus: 0", "host cam-2: a host has between 0.01 and 1024 cores, given 0"),
        ("cpus: 1", "cpus: .nan", "host cam-2: a host has between"),
        ("{role: edge}", "{cpus: 1}", "host edge has no role; say which tier"),
        ("{role: edge}", "{role: the edge}", "the role of host edge: ES_TIER: given 'the edge'"),
        ("{role: edge}", "edge", "host edge: expected lines KEY: VALUE, given 'edge'"),
        ("  edge: {", "  Edge: {", "a host's name is small letters"),
        ("  edge: {", "  1: {", "a host's name is small letters"),
        ("cam-2:", "cam-1:", "cam-1 stands there twice"),
        ("cam-1-edge:", "cam-3-edge:", "two hosts such as cam-1-cam-2, given 'cam-3-edge'"),
        ("edge-pc:", "edge-cam-1:", "stands there in both directions, which have one rate"),
        ("40MB/s", "40", "a rate is a number above 0"),
        ("links:", "links: 5Mbit/s\n#", "links: expected lines"),
    ],
)  # fmt: skip
def test_a_file_with_a_mistake(read, before, after, complaint):
    assert before in FILE
    text = FILE.replace(before, after)
    if after.startswith("links: 5"):
        text = text.partition("\n#")[0]
    with pytest.raises(TestbedError, match=complaint) as told:
        read(text)
    assert "hosts.yaml" in str(told.value)


def test_a_longer_name_of_the_testbed_leaves_less_for_its_hosts(read):
    assert len(read_blueprint("camera=2", "abc").hosts) == 2
    for reading in (
        lambda: read_blueprint("camera=2", "abcdefgh"),
        lambda: read(FILE.replace("cam-1", "camera-1"), "abcdefgh"),
    ):
        with pytest.raises(TestbedError, match=r"'camera-1' of a host is too long.*most 6 letters"):
            reading()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(TestbedError, match=r"cannot read the hosts in .*none.yaml"):
        read_blueprint(str(tmp_path / "none.yaml"))


def test_the_example_in_the_module_is_a_file(read):
    text = blueprint.__doc__.partition("a rate:\n")[2]
    assert [host.role for host in read(text).hosts] == ["end", "end", "edge", "cloud"]


def test_the_example_for_users_is_a_file(read):
    page = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()
    found = read(page.partition("```yaml\n")[2].partition("```")[0])
    assert found.cores == {"camera-1": 0.2, "camera-2": 0.2, "edge": 0.33}
    assert found.rates["edge", "camera-1"] == 625e3
