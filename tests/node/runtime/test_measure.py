"""Rows of runtimes that fuse: chunks, how they are spread, and that they sum to the whole."""

from dataclasses import dataclass

import pytest
import torch
from runtime_cases import case

from edgesplit.errors import ProfileError, RuntimeUnavailableError
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.runtime.measure import Reference, Shape, measure_layer_times

MS = 1e-3


def test_chunks_take_equal_seconds():
    shape = Shape((1.0,) * 12, (5,) * 13)
    assert shape.chunks(4) == ((0, 3), (3, 6), (6, 9), (9, 12))


def test_a_slow_layer_is_a_chunk_of_its_own():
    shape = Shape((1.0, 1.0, 10.0, 1.0, 1.0), (5,) * 6)
    assert shape.chunks(4) == ((0, 2), (2, 3), (3, 5))


def test_a_cut_moves_to_a_small_payload_nearby():
    payloads = [9] * 41
    payloads[21] = 1
    payloads[23] = 0  # too far away: more than a quarter of a chunk
    assert Shape((1.0,) * 40, tuple(payloads)).chunks(4)[1:3] == ((12, 21), (21, 32))


def test_of_equal_payloads_the_last_is_cut_at():
    """Behind a convolution, its normalisation and its ReLU, which a runtime fuses."""
    payloads = (9, *(6,) * 3, *(7,) * 3, *(8,) * 3)
    shape = Shape((5.0, 0.1, 0.1) * 3, payloads)
    assert shape.chunks(3) == ((0, 3), (3, 6), (6, 9))


def test_few_layers_are_a_chunk_each():
    assert Shape((1.0, 2.0), (1, 1, 1)).chunks() == ((0, 1), (1, 2))


def test_a_chunk_is_spread_as_torch_spends_its_seconds():
    shape = Shape((1.0, 3.0, 0.0, 0.0, 5.0), (1,) * 6)
    chunks = ((0, 2), (2, 4), (4, 5))
    assert shape.spread(chunks, (8.0, 6.0, 7.0)) == [2.0, 6.0, 3.0, 3.0, 7.0]


def test_a_shape_has_a_payload_per_cut():
    with pytest.raises(ProfileError, match="2 layers have 3 cuts, given payloads of 2"):
        Shape((1.0, 2.0), (1, 1))


@dataclass
class Clock:
    """Goes on only where somebody says so."""

    now_s: float = 0.0

    def __call__(self):
        return self.now_s


@dataclass(frozen=True)
class Busy:
    """A prepared range that takes so long by the clock and adds its layers' count."""

    clock: Clock
    seconds: float
    layers: int
    n_bytes: int = 0

    def __call__(self, values):
        self.clock.now_s += self.seconds
        return [values[0] + self.layers]


@dataclass(frozen=True)
class Fusing:
    """Each range costs 1 ms, and its last layers 4 ms each: no sum of single layers tells."""

    clock: Clock
    name = "fusing"

    def prepare(self, start, stop):
        late = max(0, stop - max(start, 18))
        return Busy(self.clock, MS + 4 * MS * late, stop - start)


def row_of(shape, eager, turn=unslotted, is_run_here=True):
    """eager(clock): what stands for eager torch."""
    clock = Clock()
    known = Reference([torch.zeros(1)], eager(clock), shape, is_run_here)
    return measure_layer_times(Fusing(clock), known, turn, clock)


def test_a_row_sums_to_the_whole_run_and_knows_where_the_time_goes():
    shape = Shape((MS,) * 20, (1,) * 21)
    row = row_of(shape, lambda clock: Busy(clock, 18 * MS, 20))
    assert row.runtime == "fusing"
    assert row.error == 0.0
    # 9 ms beside torch's 18 ms, which were 20 ms when torch's own row was measured.
    assert sum(row.layer_s) == pytest.approx(10 * MS)
    # Twelve chunks take 20 ms, the last one 9 or 5 of them, with two or one of the late layers.
    assert sum(row.layer_s[18:]) > 0.35 * sum(row.layer_s)


def test_every_run_waits_for_its_turn():
    turns = []

    def turn(run):
        turns.append(run)
        return run()

    shape = Shape((MS,) * 20, (1,) * 21)
    row_of(shape, lambda clock: Busy(clock, MS, 20), turn)
    assert len(turns) == 2 + 2 * 5 + 6 * len(shape.chunks())


def test_where_torch_does_not_run_the_seconds_are_the_runtimes_own():
    shape = Shape((1.0,) * 20, (1,) * 21)
    row = row_of(shape, lambda clock: lambda values: [values[0] + 20], is_run_here=False)
    assert sum(row.layer_s) == pytest.approx(9 * MS)


def test_a_row_of_other_results_says_how_far_off():
    shape = Shape((1.0,) * 20, (1,) * 21)
    assert row_of(shape, lambda clock: Busy(clock, MS, 16)).error == 0.25
    with pytest.raises(RuntimeUnavailableError, match="another result than torch"):
        row_of(shape, lambda clock: lambda values: [])


def test_the_row_of_a_real_runtime():
    sample = case("UNet")
    n = len(sample.program)
    shape = Shape((MS,) * n, sample.payload_bytes)
    reference = sample.program.segment(0, n)
    row = measure_layer_times(sample.runtimes["onnx"], Reference(sample.values, reference, shape))
    assert len(row.layer_s) == n
    assert min(row.layer_s) > 0
    assert 0 < row.error < 1e-5
