"""Where a profile's layer times and links are from, for people to look at."""

from collections.abc import Mapping

from edgesplit.core.profile import Profile


def provenance_dict(profile: Profile) -> dict[str, str]:
    """By what was measured: `end torch`, `end->edge`."""
    return {**_layer_times(profile), **_links(profile)}


def provenance_lines(profile: Profile) -> list[str]:
    """A line for each provenance but `given`, with all layer times or links that have it."""
    return [*_lines(_layer_times(profile)), *_lines(_links(profile))]


def _layer_times(profile: Profile) -> dict[str, str]:
    return {
        f"{tier.name} {runtime}": tier.times_in(runtime).provenance
        for tier in profile.tiers
        for runtime in tier.runtimes
    }


def _links(profile: Profile) -> dict[str, str]:
    return {f"{link.source}->{link.target}": link.provenance for link in profile.links}


def _lines(found: Mapping[str, str]) -> list[str]:
    texts = [text for text in dict.fromkeys(found.values()) if text != "given"]
    return [f"{', '.join(n for n in found if found[n] == text)}: {text}" for text in texts]
