"""What payload codecs take on the tiers, as these measure it themselves beside requests."""

from collections.abc import Mapping
from typing import Any

from edgesplit.cluster.ray.answers import Get
from edgesplit.core.payload_codec import CodecSpeed, CodecSpeeds
from edgesplit.node.codec.speeds import CodecsAsked

_TIMEOUT_S = 300.0  # beside requests, on a slow tier


def codec_speeds(
    actors: Mapping[str, Any], workload_id: str, asked: CodecsAsked, get: Get
) -> CodecSpeeds:
    """Of each tier; one after another, since tiers of one machine would disturb each other.

    Raises ClusterError.
    """
    found: list[tuple[str, tuple[CodecSpeed, ...]]] = []
    for tier, actor in actors.items():
        call = actor.codec_speeds.remote(workload_id, asked)
        found.append((tier, get(call, f"tier {tier!r} to measure codecs", _TIMEOUT_S)))
    return tuple(found)
