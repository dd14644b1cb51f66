"""Where the joules of a plan or of a record come from, in one sentence for a table's foot."""

from collections.abc import Iterable

from edgesplit.core.profile import Profile


def predicted(profile: Profile, boundary: str) -> str:
    """Of figures that the cost model predicts: whose watts they are, tier by tier."""
    sources = _grouped(
        (
            tier.name,
            f"{tier.power.provenance} ({tier.power.scope}, {_known(tier.power.is_calibrated)})",
        )
        for tier in profile.tiers
    )
    text = f"energy is modelled (watts x seconds), {boundary} boundary: {sources}"
    return text + _mixed(tier.power.scope for tier in profile.tiers)


def counted(profile: Profile, boundary: str) -> str:
    """Of figures of requests that were run: measured or modelled, tier by tier."""
    sources = _grouped((tier.name, tier.meter.text) for tier in profile.tiers)
    return f"energy, {boundary} boundary: {sources}" + _mixed(
        tier.meter.scope for tier in profile.tiers
    )


def _known(is_calibrated: bool) -> str:
    return "± is k=2" if is_calibrated else "no uncertainty known"


def _grouped(rows: Iterable[tuple[str, str]]) -> str:
    """Tiers that share a text stand together before it."""
    tiers: dict[str, list[str]] = {}
    for tier, text in rows:
        tiers.setdefault(text, []).append(tier)
    return "; ".join(f"{', '.join(names)} {text}" for text, names in tiers.items())


def _mixed(scopes: Iterable[str]) -> str:
    different = list(dict.fromkeys(scopes))
    if len(different) < 2:
        return ""
    return f". The total adds different scopes: {', '.join(different)}"
