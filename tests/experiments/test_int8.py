"""experiments.int8: ratios are taken within a round, ranges are summed, and what was to reach."""

import pytest

from experiments.int8.rows import INT8, SUM, rows_of, verdicts

RANGES = ("first third", "middle third", "last third")


def part(runtime, name, seconds):
    taken = {"wall_s": seconds, "cpu_s": [s / 2 for s in seconds]}
    errors = {"relative_error": 0.02, "split_error": 0.0}
    return {"runtime": runtime, "part": name, "start": 0, "stop": 9, **taken, **errors}


@pytest.fixture
def entry():
    """Torch takes 12 s and then 24, 8 bits a sixth of that; its ranges 5 % more together."""
    rounds, parts = (12.0, 24.0, 24.0), []
    for runtime, by, more in (("torch", 1, 1.0), (INT8, 6, 1.05)):
        parts.append(part(runtime, "whole", [s / by for s in rounds]))
        parts += [part(runtime, name, [more * s / by / 3 for s in rounds]) for name in RANGES]
    return {"model": "mobilenet_v2", "parts": parts}


def test_rows(entry):
    rows = {(row["runtime"], row["part"]): row for row in rows_of(entry)}
    assert len(rows) == 10
    assert rows[INT8, "whole"]["speedup"] == pytest.approx(6)
    assert rows[INT8, "whole"]["cpu_speedup"] == pytest.approx(6)
    assert rows[INT8, "whole"]["sum_to_whole"] is None
    assert rows[INT8, SUM]["sum_to_whole"] == pytest.approx(1.05)
    assert rows[INT8, SUM]["latency_s"] == pytest.approx(1.05 * 4)


def test_verdicts(entry):
    quick, ranges = verdicts(entry)
    assert (quick["value"], quick["limit"], quick["reached"]) == (pytest.approx(6), 5.0, True)
    assert (ranges["value"], ranges["reached"]) == (pytest.approx(0.05), True)
    assert not verdicts({**entry, "model": "resnet18"})[0]["reached"]
    assert len(verdicts({**entry, "model": "another"})) == 1
