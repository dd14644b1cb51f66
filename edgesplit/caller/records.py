"""Records as a table: the only place that uses pandas."""

import math
from collections.abc import Iterable

from pandas import DataFrame

from edgesplit.core.energy.energy import Energy, K
from edgesplit.core.record import Record

__all__ = ["DataFrame", "frame_of"]

COLUMNS = (
    *("id", "at_s", "model", "plan", "latency_s", "compute_s", "link_s"),
    *("end_energy_j", "end_energy_k2_j", "total_energy_j", "total_energy_k2_j"),
    *("boundary", "energy", "energy_scope", "energy_source", "energy_note", "emulated"),
    *("finished_by", "why", "hedged", "met_limit", "expected_loss"),
)

_AS_RECORDED = (
    *("id", "at_s", "model", "latency_s", "compute_s", "link_s", "finished_by", "why", "hedged"),
    "expected_loss",
)


def frame_of(records: Iterable[Record], boundary: str, is_emulated: bool) -> DataFrame:
    """One row per request, in the order they came back.

    Seconds and joules. energy: measured, modelled, or both; energy_scope and energy_source: what
    the total's joules cover and who says so; energy_note: what to know before relying on them.
    *_k2_j: expanded uncertainty (k=2), NaN where none is known. Joules that do not stand out of it
    are NaN and the note says what they are below: a mean over the rest would be too high, use
    EdgeSplit.metered() for sums. finished_by: the tier that ran the last layer, or `caller`; why:
    empty where that was planned, else what kept the planned tier from it. hedged: who ran layers
    twice, and whether its answer came first. met_limit: whether it took no longer than the goal's
    latency limit; NaN: it has none. expected_loss: the upper end of what the plan costs in
    accuracy, as measured on examples; NaN: not known. Per tier that took part: TIER_compute_s,
    TIER_codec_s, TIER_queue_s, TIER_sent_bytes, TIER_energy_j, TIER_energy_k2_j and
    TIER_energy_from (kind, source, scope), NaN where it did not.
    """
    columns: dict[str, list[object]] = {name: [] for name in COLUMNS}
    texts: dict[object, object] = {}  # each once, however many rows have it
    for n, record in enumerate(records):
        row = _row(record) | {"boundary": boundary, "emulated": is_emulated}
        for name in row.keys() - columns.keys():
            columns[name] = [math.nan] * n
        for name, column in columns.items():
            value = row.get(name, math.nan)
            column.append(texts.setdefault(value, value) if isinstance(value, str) else value)
    extra = sorted(columns.keys() - set(COLUMNS))
    return DataFrame(columns, columns=[*COLUMNS, *extra])


def _row(record: Record) -> dict[str, object]:
    end, whole = record.end_energy, record.total_energy
    below = {
        name: f"{name}: {energy}"
        for name, energy in (("end", end), ("total", whole))
        if not energy.is_resolved
    }
    row: dict[str, object] = {name: getattr(record, name) for name in _AS_RECORDED}
    row |= {
        "plan": str(record.plan),
        "end_energy_j": _shown_j(end),
        "end_energy_k2_j": K * end.u_j,
        "total_energy_j": _shown_j(whole),
        "total_energy_k2_j": K * whole.u_j,
        "energy": whole.kind,
        "energy_scope": whole.scope,
        "energy_source": whole.provenance,
        "energy_note": "; ".join([*below.values(), *whole.flags]),
        "met_limit": math.nan if record.met_limit is None else record.met_limit,
    }
    for timing in record.timings:
        row[f"{timing.tier}_compute_s"] = timing.compute_s
        row[f"{timing.tier}_codec_s"] = timing.codec_s
        row[f"{timing.tier}_queue_s"] = timing.queue_s
        row[f"{timing.tier}_sent_bytes"] = timing.sent_bytes
        energy = record.energy[timing.tier]
        row[f"{timing.tier}_energy_j"] = _shown_j(energy)
        row[f"{timing.tier}_energy_k2_j"] = K * energy.u_j
        row[f"{timing.tier}_energy_from"] = f"{energy.kind}: {energy.provenance} ({energy.scope})"
    return row


def _shown_j(energy: Energy) -> float:
    return energy.joules if energy.is_resolved else math.nan
