"""The matrix of the testbed as a page in Markdown."""

from typing import Any

_NAMES = {
    "end:0-2 | edge:2-8": "two tiers",
    "end:0-2 | edge:2-5 | cloud:5-8": "three tiers",
}
_COLUMNS = ("requests", "right", "by_fallback", "hedged", "errors", "lost", "wrong")


def table_text(summary: dict[str, Any]) -> str:
    """A row per fault, and what the columns are."""
    head = ["fault", "moment", "plan", *_COLUMNS, "longest wait", "bound", "back after"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [_line(row) for row in summary["faults"]]
    plans = "; ".join(f"{name}: `{plan}`" for plan, name in _NAMES.items())
    return f"""# Faults on hosts and links

Three hosts of namespaces on one machine (emulated), all figures measured. {plans}.
Seconds; `!`: beyond the bound; back: from the end of the fault.

""" + "\n".join([*lines, ""])


def _line(row: dict[str, Any]) -> str:
    is_told = row["requests"] is not None
    counts = [str(row[key]) if is_told else "" for key in _COLUMNS]
    wait = _seconds(row["longest_wait_s"]) + ("" if row["within_bound"] in (True, None) else " !")
    back = f"{row['back_s']:.1f}" if row["back_s"] is not None else "not back"
    cells = [row["fault"], row["moment"], _NAMES.get(row["plan"], row["plan"]), *counts, wait]
    cells += [_seconds(row["bound_s"]), back if is_told else row["note"]]
    return f"| {' | '.join(cells)} |"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
