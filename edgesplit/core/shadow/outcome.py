"""The outcome of telling policies what happened to a session, as values and as a table."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from edgesplit.core.printable import duration
from edgesplit.core.shadow.bootstrap import Saving
from edgesplit.core.shadow.past_request import RequestCost

_SAVES = "saves of that (95%)"


@dataclass(frozen=True)
class ShadowOutcome:
    """What one policy cost, or would have cost.

    requests: for how many it had a plan that could run; the rest is of those. plans: along which
    they went, with their shares, most used first. mean: of a request. saved: of the score, over
    what was run. late: the share over the latency limit; None: there is no limit.
    """

    policy: str
    requests: int
    plans: tuple[tuple[str, float], ...]
    mean: RequestCost
    saved: Saving
    late: float | None = None


@dataclass(frozen=True)
class Regret:
    """What every policy would have cost on a session's own requests. print() shows it as a table.

    ran: what was run, as measured; all else is modelled. static: the best plan for all of the
    requests, in hindsight; clairvoyant: the best one for each. shadows: of every policy, least
    score first. without_plan: policies that never had a plan that could run.

    policy: the session's, empty for a function. span_s: between the first and the last request
    looked at; requests: how many, each `every`-th. kept_s: how far back the events go; asked_s: how
    far back they were asked for, None: as far as they go. left_out: requests that say nothing of
    other plans, by the reason. unmeasured: tiers of which nothing was measured since they were
    profiled. block: requests that the bootstrap keeps together.

    Example:
        >>> found = split.regret()
        >>> found.clairvoyant.mean.score <= found.ran.mean.score
        True
    """

    graph: str
    policy: str
    energy: str
    requests: int
    every: int
    span_s: float
    kept_s: float
    asked_s: float | None
    left_out: Mapping[str, int]
    unmeasured: tuple[str, ...]
    block: int
    ran: ShadowOutcome
    static: ShadowOutcome
    clairvoyant: ShadowOutcome
    shadows: tuple[ShadowOutcome, ...]
    without_plan: tuple[str, ...]

    @property
    def regret(self) -> float:
        """By what share the mean score of what ran lies above a clairvoyant planner's."""
        best = self.clairvoyant.mean.score
        return self.ran.mean.score / best - 1 if best > 0 else 0.0

    def as_dict(self) -> dict[str, object]:
        """The same as plain values for JSON; seconds and joules."""
        return {**asdict(self), "regret": self.regret}

    def __str__(self) -> str:
        return "\n".join((*_about(self), "", *_table(self), "", *_told(self)))


def _about(found: Regret) -> Iterator[str]:
    every = "" if found.every == 1 else f", 1 of {found.every},"
    yield (
        f"{found.graph}, policy {found.policy or 'of a function'}: {found.requests} requests{every}"
        f" within {duration(found.span_s)}"
    )
    if found.asked_s is not None and found.asked_s > found.kept_s:
        yield f"note: {duration(found.asked_s)} were asked for, {duration(found.kept_s)} are kept"
    for why, count in found.left_out.items():
        yield f"left out: {count} {why}"
    if found.unmeasured:
        tiers = ", ".join(found.unmeasured)
        yield f"note: no request has used {tiers}: only the layer times of the opening are known"


def _table(found: Regret) -> Iterator[str]:
    rows = [found.ran, *found.shadows, found.static, found.clairvoyant]
    names = max(len(row.policy) for row in rows)
    savings = ["measured", *(_saved(row.saved) for row in rows[1:])]
    width = max(map(len, (_SAVES, *savings)))
    has_limit = any(row.late is not None for row in rows)
    late = f" {'late':>6}" if has_limit else ""
    yield (
        f"{'':{names}} {'score':>7} {'latency':>11} {'end':>10} {'all tiers':>10}{late} "
        f"{_SAVES:>{width}}  along"
    )
    for row, saved in zip(rows, savings, strict=True):
        spent = row.mean
        late = f" {row.late or 0.0:>6.1%}" if has_limit else ""
        yield (
            f"{row.policy:{names}} {spent.score:7.4f} {spent.latency_s * 1e3:8.2f} ms "
            f"{spent.end_energy_j:8.4f} J {spent.total_energy_j:8.4f} J{late} "
            f"{saved:>{width}}  {_plans(row, found.requests)}"
        )
    for name in found.without_plan:
        yield f"{name:{names}} no plan at any time"


def _saved(saved: Saving) -> str:
    """Such as `1.2% (0.3 to 2.0)`."""
    share = f"{saved.share:.1%}"
    if saved.low is None or saved.high is None:
        return f"~ {share}"
    mark = "~ " if saved.is_within_noise else ""
    return f"{mark}{share} ({100 * saved.low:.1f} to {100 * saved.high:.1f})"


def _plans(row: ShadowOutcome, requests: int) -> str:
    plan, share = row.plans[0]
    others = len(row.plans) - 1
    text = plan if not others else f"{plan} ({share:.0%}), {others} more"
    return text if row.requests == requests else f"{text}; no plan for {requests - row.requests}"


def _told(found: Regret) -> Iterator[str]:
    """In words: what was left to save."""
    best, static, own = found.clairvoyant, found.static, found.ran
    yield (
        "clairvoyant: the best plan for each request, which knows what it will meet, "
        f"{_words(best)}: {(own.mean.latency_s - best.mean.latency_s) * 1e3:.2f} ms and "
        f"{own.mean.end_energy_j - best.mean.end_energy_j:.4f} J of the end tier per request. The "
        f"regret of what ran is {found.regret:.1%}"
    )
    yield f"best static: the best one plan in hindsight, {static.plans[0][0]}, {_words(static)}"
    if best.saved.low is None:
        yield "too few requests for intervals"
    yield (
        "as run is measured; all else is modelled: what was measured + what another plan differs "
        f"by in the cost model. Intervals of 95%, from blocks of {found.block} requests; ~ may be "
        f"noise. {found.energy}"
    )


def _words(row: ShadowOutcome) -> str:
    """What it would have saved, or cost more."""
    saved = row.saved
    what = "would have saved" if saved.share >= 0 else "would have cost"
    more = "of the score" if saved.share >= 0 else "more"
    noise = ", which may be noise" if saved.is_within_noise else ""
    return f"{what} {abs(saved.share):.1%} {more}{noise}"
