"""Scenes: what they refuse before anything is started."""

import pytest

from edgesplit import Link, Power, Profile, Tier
from edgesplit.errors import ConfigError
from experiments.shared.scene import SCENES, scene_named, wide_pairs


def test_unknown_scenes_are_named_with_those_there_are():
    with pytest.raises(ConfigError, match=f"no scene 'moon'; there are {', '.join(SCENES)}"):
        scene_named("moon")


def test_the_embedded_cluster_has_no_address():
    with (
        pytest.raises(ConfigError, match="use it with --scene cluster"),
        scene_named("embedded", "10.0.0.1:6379"),
    ):
        pass


def test_a_real_clusters_links_are_not_shaped():
    with scene_named("cluster", "10.0.0.1:6379") as scene:
        assert scene.address == "10.0.0.1:6379"
        assert not scene.can_shape
        with pytest.raises(ConfigError, match="the links of a real cluster are yours to change"):
            scene.shape("edge-cloud", "5Mbit/s")


def test_the_embedded_cluster_needs_a_session_to_shape():
    with (
        scene_named("embedded") as scene,
        pytest.raises(ConfigError, match="no session is attached"),
    ):
        scene.shape("edge-cloud", "5Mbit/s")


@pytest.mark.parametrize(
    ("pairs", "wide"),
    [
        ([("end", "edge"), ("edge", "cloud")], ["edge-cloud"]),
        ([("end", "edge"), ("edge", "cloud"), ("end", "cloud")], ["edge-cloud", "end-cloud"]),
        ([("end", "edge")], []),
    ],
)
def test_the_wide_link_is_every_link_into_the_last_tier(pairs, wide):
    tiers = tuple(Tier(n, (1.0,), Power(1, 1, 1, 1)) for n in ("end", "edge", "cloud"))
    ways = [way for pair in pairs for way in (pair, pair[::-1])]
    profile = Profile(tiers, tuple(Link(*way, 0.0, 1.0) for way in ways))
    assert wide_pairs(profile) == wide
