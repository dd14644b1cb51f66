"""Bandwidth traces: transfers integrated over them, files read or refused, classes as stated."""

import hashlib

import numpy as np
import pytest

from edgesplit.errors import ConfigError
from experiments.shared.trace import MBIT, Trace, statistics
from experiments.shared.trace_class import LINK_CLASSES, generated, sawtooth, step, trace_named
from experiments.shared.trace_file import read_trace

# 100 B/s for 1 s, nothing for 2 s, 50 B/s for 2 s; 200 bytes a lap.
STAIRS = Trace("stairs", (0.0, 1.0, 3.0), (100.0, 0.0, 50.0), 5.0)


@pytest.mark.parametrize(
    ("at_s", "rate"), [(0, 100), (0.99, 100), (1, 0), (2.9, 0), (3, 50), (4.9, 50), (5, 100)]
)
def test_a_rate_holds_until_the_next_step_and_the_trace_begins_again(at_s, rate):
    assert STAIRS.rate(at_s) == rate


@pytest.mark.parametrize(
    ("at_s", "n_bytes", "seconds"),
    [
        (0.0, 100, 1.0),  # all of the first step, not a moment of the pause
        (0.5, 50, 0.5),
        (0.5, 51, 2.52),  # the last byte waits for the pause to end
        (1.5, 1, 1.52),
        (4.0, 50, 1.0),  # to the very end of a lap
        (4.0, 60, 1.1),  # into the next one
        (0.0, 450, 10.5),  # over two laps
        (6.0, 1, 2.02),  # begins in the second lap's pause
        (2.0, 0, 0.0),
    ],
)
def test_a_transfer_is_integrated_over_the_trace(at_s, n_bytes, seconds):
    assert STAIRS.transfer_s(at_s, n_bytes) == pytest.approx(seconds, abs=1e-9)


def test_what_gets_through_meanwhile_is_what_was_to_be_sent():
    trace = generated("subway", 200, 3)
    at_s = np.linspace(0, 390, 1000)
    for n_bytes in (1.0, 4000.0, 150_000.0, 9e6):
        took_s = trace.transfer_s(at_s, n_bytes)
        through = trace.sent_bytes(at_s + took_s) - trace.sent_bytes(at_s)
        assert through == pytest.approx(n_bytes, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize(
    ("starts_s", "rates", "length_s"),
    [
        ((), (), 1.0),
        ((0.0, 1.0), (1.0,), 2.0),
        ((1.0,), (1.0,), 2.0),
        ((0.0, 0.0), (1.0, 1.0), 2.0),
        ((0.0,), (-1.0,), 1.0),
        ((0.0,), (float("nan"),), 1.0),
        ((0.0, 1.0), (0.0, 0.0), 2.0),
    ],
)
def test_what_is_no_trace_is_refused(starts_s, rates, length_s):
    with pytest.raises(ConfigError, match="trace odd"):
        Trace("odd", starts_s, rates, length_s)


def written(tmp_path, text, name="some.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_values_with_units_are_a_rate_a_second(tmp_path):
    path = written(tmp_path, "1.5,Mbits/sec\r\n726,Kbits/sec\r\n0,bits/sec\r\n800,bits/sec\r\n")
    trace = read_trace(path)
    assert trace.bytes_per_s == (187_500.0, 90_750.0, 0.0, 100.0)
    assert (trace.starts_s, trace.length_s) == ((0.0, 1.0, 2.0, 3.0), 4.0)
    assert trace.name == "some"
    assert hashlib.sha256(path.read_bytes()).hexdigest() in trace.provenance


def test_packets_of_mahimahi_are_counted_in_tenths_of_a_second(tmp_path):
    trace = read_trace(written(tmp_path, "0\n5\n99\n100\n320\n350\n", "up.trace"))
    assert trace.length_s == 0.35
    packets = np.array(trace.bytes_per_s) * np.diff([*trace.starts_s, 0.35]) / 1500
    assert packets == pytest.approx([3, 1, 0, 2])


def test_pairs_hold_until_the_next_one(tmp_path):
    trace = read_trace(written(tmp_path, "1000 8\n1500,16\n3500\t0\n"))
    assert trace.starts_s == (0.0, 0.5, 2.5)
    assert trace.bytes_per_s == (1000.0, 2000.0, 0.0)
    assert trace.length_s == 4.5


UCC = "Timestamp,Longitude,DL_bitrate,UL_bitrate,State\n"


def test_idle_seconds_and_repeated_ones_of_ucc_are_no_fades(tmp_path):
    rows = [
        "2019.12.16_13.40.04,-8.5,0,1,I",
        "2019.12.16_13.40.05,-8.5,800,1,D",
        "2019.12.16_13.40.06,-8.5,3,1,D",
        "2019.12.16_13.40.06,-8.5,1600,1,D",
        "2019.12.16_13.40.07,-8.5,0,1,I",
        "2019.12.16_13.40.09,-8.5,2400,1,D",
    ]
    trace = read_trace(written(tmp_path, UCC + "\n".join(rows) + "\n"))
    assert trace.bytes_per_s == (100_000.0, 200_000.0, 300_000.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("once upon a time\n", "line 1: 'once upon a time' begins no trace"),
        ("1,Mbits/sec\n2\n", "line 2: expected VALUE,UNIT"),
        ("1,Mbits/sec\n-2,Mbits/sec\n", "line 2: expected a rate"),
        ("1,Mbits/sec\nnan,Mbits/sec\n", "line 2: expected a rate"),
        ("0,bits/sec\n", "no byte ever gets through"),
        ("5\n4\n", "line 2: expected no less than the 5 before it"),
        ("5\nsix\n", "line 2: expected a whole number of milliseconds"),
        ("0\n0\n", "has no length"),
        ("0 5\n", "two pairs at least"),
        ("0 5\n0 6\n", "line 2: expected later than the 0 ms before it"),
        ("0 5\n1000 6 7\n", "line 2: expected milliseconds and kbit/s"),
        (UCC + "2019.12.16_13.40.04,1,5,1,I\n", "nothing is ever downloaded"),
        (UCC + "2019.12.16_13.40.04,1,5,1,X\n", "line 2: expected kbit/s and state D or I"),
        (UCC + "2019.12.16_13.40.04,1,-,1,D\n", "line 2: expected kbit/s and state D or I"),
        (UCC + "16.12.2019,1,5,1,D\n", "line 2: expected a time such as"),
        (UCC + "2019.12.16_13.40.04,1,5\n", "line 2: expected 5 columns"),
        (
            UCC + "2019.12.16_13.40.05,1,5,1,D\n2019.12.16_13.40.04,1,5,1,D\n",
            "its seconds are not in order",
        ),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path, text, told):
    with pytest.raises(ConfigError) as failed:
        read_trace(written(tmp_path, text))
    assert told in str(failed.value)
    assert "some" in str(failed.value)


def test_bytes_that_are_no_text_and_files_that_are_not_there_are_refused(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="is no text"):
        read_trace(tmp_path / "binary")
    with pytest.raises(ConfigError, match="cannot read the trace"):
        read_trace(tmp_path / "none")
    with pytest.raises(ConfigError, match="neither a file nor one of subway, bus"):
        trace_named("teleport", 60, 0)


# Of the recordings that a class is to resemble: mean in Mbit/s, cv, changes a minute, fades.
BANDS = {
    "subway": ((6.8, 9.1), (0.69, 0.81), (1.5, 2.7), (0.0, 0.06)),
    "bus": ((2.6, 7.2), (0.46, 0.62), (0.8, 1.3), (0.005, 0.025)),
    "drive": ((3.6, 4.8), (0.82, 1.0), (2.6, 3.7), (0.07, 0.13)),
    "wifi": ((38.0, 42.0), (0.0, 0.12), (0.0, 0.0), (0.0, 0.0)),
    "satellite": ((9.0, 11.0), (0.3, 0.45), (0.3, 1.2), (0.0, 0.03)),
}


@pytest.mark.parametrize("name", LINK_CLASSES)
def test_a_class_resembles_what_was_recorded(name):
    for seed in (0, 1, 2):
        found = statistics(generated(name, 20_000, seed))
        figures = (found.mean, found.cv, found.changes_per_minute, found.fade_share)
        for figure, (low, high) in zip(figures, BANDS[name], strict=True):
            assert low <= figure <= high, (name, seed, found)


@pytest.mark.parametrize("name", LINK_CLASSES)
def test_the_shares_of_a_class_are_all_of_it(name):
    assert sum(LINK_CLASSES[name].shares) == pytest.approx(1.0)
    assert list(LINK_CLASSES[name].rates) == sorted(LINK_CLASSES[name].rates)


def test_the_seed_decides():
    assert generated("bus", 100, 5) == generated("bus", 100, 5)
    assert generated("bus", 100, 5).bytes_per_s != generated("bus", 100, 6).bytes_per_s


def test_step_and_sawtooth():
    assert [step(90).rate(s) / MBIT for s in (0, 29, 30, 59, 60)] == [20, 20, 1, 1, 20]
    rates = [sawtooth(60).rate(s) / MBIT for s in (0, 1, 29, 30)]
    assert rates == pytest.approx([20, 20 * (1 / 20) ** (1 / 29), 1, 20])


def test_statistics_count_changes_between_medians_and_fades():
    rates = [1.0] * 5 + [3.0] * 5 + [2.0] * 5 + [0.05] * 5
    trace = Trace("four", tuple(map(float, range(20))), tuple(r * MBIT for r in rates), 20.0)
    found = statistics(trace)
    assert found.changes_per_minute == pytest.approx(60 * 2 / 20)  # 1 to 3, 2 to 0.05
    assert found.fade_share == 0.25
    assert found.mean == pytest.approx(np.mean(rates))
    with pytest.raises(ConfigError, match="10 s at least"):
        statistics(STAIRS)


def test_a_name_is_a_class_a_shape_or_a_file(tmp_path):
    assert trace_named("subway", 30, 2) == generated("subway", 30, 2)
    assert trace_named("step", 30, 2) == step(30)
    path = written(tmp_path, "1,Mbits/sec\n")
    assert trace_named(str(path), 30, 2) == read_trace(path)
