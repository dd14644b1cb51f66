"""experiments.int8: ratios are taken within a round, ranges are summed, and what was to reach."""

import pytest
import torch

from experiments.int8.loss import CALIBRATED, row_of
from experiments.int8.rows import INT8, SUM, rows_of, verdicts
from experiments.shared.probed import Probed

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


def test_loss_counts_answers_that_were_right_before():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 10)
    ).eval()
    inputs = [torch.rand(1, 3, 8, 8) for _ in range(CALIBRATED + 5)]
    right = [int(net(x).argmax()) for x in inputs]
    labels = [*right[:-2], -1, -1]  # the last two are answered wrong
    row = row_of(Probed(net, list(zip(inputs, labels, strict=True)), 0.0), None)
    assert row["examples"] == 5
    assert row["accuracy"] == 0.6
    # 8 bits may change an answer that was close; the rows have to agree on how many.
    assert row["loss"] == pytest.approx(row["accuracy"] - row["int8_accuracy"])
    assert abs(row["loss"]) <= row["answers_apart"]
    assert row["loss_lower"] < row["loss"] < row["loss_upper"]
