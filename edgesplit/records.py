"""Records as a table: the only place that uses pandas."""

from collections.abc import Iterable

from pandas import DataFrame

from edgesplit.core.record import Record

__all__ = ["DataFrame", "frame_of"]

COLUMNS = (
    *("id", "at_s", "model", "plan", "latency_s", "compute_s", "link_s"),
    *("end_energy_j", "total_energy_j", "boundary", "energy", "emulated"),
)


def frame_of(records: Iterable[Record], boundary: str, is_emulated: bool) -> DataFrame:
    """One row per request, in the order they came back.

    Seconds and joules; energy is modelled (watts x seconds). Per tier that took part:
    TIER_compute_s, TIER_queue_s and TIER_sent_bytes, NaN where it did not.
    """
    rows = [_row(record) for record in records]
    for row in rows:
        row |= {"boundary": boundary, "energy": "modelled", "emulated": is_emulated}
    extra = sorted({key for row in rows for key in row} - set(COLUMNS))
    return DataFrame(rows, columns=[*COLUMNS, *extra])


def _row(record: Record) -> dict[str, object]:
    row: dict[str, object] = {
        name: getattr(record, name) for name in COLUMNS if hasattr(record, name)
    }
    row["plan"] = str(record.plan)
    for sample in record.samples:
        row[f"{sample.tier}_compute_s"] = sample.compute_s
        row[f"{sample.tier}_queue_s"] = sample.queue_s
        row[f"{sample.tier}_sent_bytes"] = sample.sent_bytes
    return row
