"""The shipped cluster.yaml: one command per role, the same words as the systemd unit's."""

from pathlib import Path

import pytest
import yaml

from edgesplit.deploy.node_files import ray_start_options

SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "cluster.yaml").read_text())
# What `ray up` adds: the head learns of its workers, the workers of the head's address.
ONLY_HERE = {'--autoscaling-config="$HOME/ray_bootstrap_config.yaml"'}


def start_words(role):
    """(what stands before `ray start`, its words)."""
    before, _, options = SHIPPED[f"{role}_start_ray_commands"][-1].partition('"$ES_BIN/ray" start')
    return before, [word.replace("$RAY_HEAD_IP", "$ES_HEAD_IP") for word in options.split()]


@pytest.mark.parametrize("role", ["head", "worker"])
def test_starts_ray_as_the_unit_does(role):
    before, words = start_words(role)
    assert set(words) - ONLY_HERE == set(ray_start_options(role == "head"))
    assert len(words) == len(set(words))
    assert ". /etc/edgesplit/node.env" in before
    assert "unset OMP_NUM_THREADS" in before


def test_keeps_version_1_of_the_autoscaler():
    assert "RAY_enable_autoscaler_v2=0" in start_words("head")[0]


@pytest.mark.parametrize("role", ["head", "worker"])
def test_ray_answers_those_only_who_have_the_token(role):
    assert "RAY_AUTH_MODE=token " in start_words(role)[0]


def test_ray_stops_before_it_starts():
    for role in ("head", "worker"):
        assert SHIPPED[f"{role}_start_ray_commands"][0].endswith('"$ES_BIN/ray" stop')
