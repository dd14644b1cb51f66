"""The pinned ports: one list, no overlaps, and flags that `ray start` has."""

import click
import pytest
from ray.scripts.scripts import start

from edgesplit.deploy.ports import DATA_PORTS, EVERY_NODE, GCS_PORT, HEAD, PORTS


def test_no_port_is_pinned_twice():
    numbers = [number for port in PORTS for number in port.numbers]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.name)
def test_an_entry_makes_sense(port):
    assert 0 < port.first <= port.last < 32768, "above lie the ports the kernel gives out"
    assert port.where in (HEAD, EVERY_NODE)
    assert port.purpose


def test_data_ports_and_gcs_are_in_the_list():
    by_name = {port.name: port for port in PORTS}
    assert by_name["EdgeSplit data plane"].numbers == DATA_PORTS == range(6400, 6432)
    assert by_name["GCS"].first == GCS_PORT == 6379


def test_flags_are_those_of_ray_start():
    known = {flag for option in start.params if isinstance(option, click.Option)
             for flag in option.opts}  # fmt: skip
    words = [word for port in PORTS for word in port.options]
    assert {word.split("=")[0] for word in words} <= known
    # Every port option of `ray start` is pinned, but for those of Redis, which is not used, of the
    # Ray client, and the list that would stand in for the workers' range.
    ports = {flag for flag in known if flag.startswith("--") and flag.endswith("-port")}
    assert ports - {word.split("=")[0] for word in words} == {"--ray-client-server-port"}


def test_a_range_has_two_flags():
    workers = next(port for port in PORTS if port.name == "Ray workers")
    assert workers.options == ["--min-worker-port=10002", "--max-worker-port=10100"]
