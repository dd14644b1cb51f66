"""Bandwidth traces from files that the user names. The format is told from the first line.

- Mahimahi: the millisecond of every packet of 1500 bytes, one a line, ascending.
- CSV of `value,unit`, a line a second, such as `1.87,Mbits/sec` (NYU-METS).
- Pairs of milliseconds and kbit/s, ascending: from then on that rate. The last one holds as long as
  the one before it.
- G-NetTrack's CSV as the 5G dataset of UCC has it: the download rates of seconds in which something
  was downloaded. Seconds without are no fades but silence of the application, and are left out; of
  several lines of one second the last counts.
"""

import csv
import hashlib
import math
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

from edgesplit.errors import ConfigError
from experiments.shared.trace import Trace

PACKET_BYTES = 1500
_PACKETS_PER_S = 0.1  # seconds of a step: about what a sender can see
_MOST_BYTES = 64 << 20
_UNITS = {"bits/sec": 1 / 8, "kbits/sec": 1e3 / 8, "mbits/sec": 1e6 / 8, "gbits/sec": 1e9 / 8}
_UCC = ("Timestamp", "DL_bitrate", "State")
_IDLE, _BUSY = "I", "D"
_TIME = "%Y.%m.%d_%H.%M.%S"
_PAIR = re.compile(r"[,;\s]+")


def read_trace(path: Path) -> Trace:
    """The trace in that file. Raises ConfigError, with the line, for what is none."""
    try:
        data = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else None
    except OSError as error:
        raise ConfigError(f"cannot read the trace {path}: {error.strerror}") from error
    if data is None:
        raise ConfigError(f"the trace {path} is over {_MOST_BYTES >> 20} MiB")
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"the trace {path} is no text: {error}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise ConfigError(f"the trace {path} is empty")
    source = f"{path.name}, SHA-256 {hashlib.sha256(data).hexdigest()}"
    starts_s, rates, length_s = _steps(path, lines)
    return Trace(path.stem, tuple(starts_s), tuple(rates), length_s, source)


_Steps = tuple[Sequence[float], Sequence[float], float]


def _steps(path: Path, lines: Sequence[str]) -> _Steps:
    first = lines[0].strip().lstrip("\ufeff")
    cells = _PAIR.split(first)
    if all(name in first.split(",") for name in _UCC):
        return _ucc(path, lines)
    if len(cells) == 2 and cells[1].lower() in _UNITS:
        return _values(path, lines)
    if len(cells) == 2 and all(map(_is_number, cells)):
        return _pairs(path, lines)
    if first.isdigit():
        return _packets(path, lines)
    raise ConfigError(
        f"{path}, line 1: {first!r:.80} begins no trace; known are a packet's millisecond a line "
        "(Mahimahi), `1.87,Mbits/sec`, milliseconds and kbit/s, and a header with "
        f"{', '.join(_UCC)}"
    )


def _packets(path: Path, lines: Sequence[str]) -> _Steps:
    """Mahimahi's: as long as its last packet says, in steps of a tenth of a second."""
    times_ms = []
    for number, line in enumerate(lines, 1):
        if not line.strip().isdigit():
            raise _wrong(path, number, line, "a whole number of milliseconds")
        times_ms.append(int(line))
        if len(times_ms) > 1 and times_ms[-1] < times_ms[-2]:
            raise _wrong(path, number, line, f"no less than the {times_ms[-2]} before it")
    length_s = times_ms[-1] / 1e3
    if length_s <= 0:
        raise ConfigError(f"{path}: the last packet leaves at 0 ms, so the trace has no length")
    count = math.ceil(round(length_s / _PACKETS_PER_S, 6))
    edges_s = np.minimum(np.arange(count + 1) * _PACKETS_PER_S, length_s)
    packets, _ = np.histogram(np.array(times_ms) / 1e3, edges_s)
    rates = packets * PACKET_BYTES / np.diff(edges_s)
    return edges_s[:-1].tolist(), rates.tolist(), length_s


def _values(path: Path, lines: Sequence[str]) -> _Steps:
    """A rate a second, each with its unit."""
    rates = []
    for number, line in enumerate(lines, 1):
        value, _, unit = line.strip().partition(",")
        if unit.strip().lower() not in _UNITS or not _is_number(value):
            raise _wrong(path, number, line, f"VALUE,UNIT with one of {', '.join(_UNITS)}")
        rates.append(_rate(path, number, value, _UNITS[unit.strip().lower()]))
    return list(map(float, range(len(rates)))), rates, float(len(rates))


def _pairs(path: Path, lines: Sequence[str]) -> _Steps:
    starts_s, rates = list[float](), list[float]()
    for number, line in enumerate(lines, 1):
        cells = _PAIR.split(line.strip())
        if len(cells) != 2 or not all(map(_is_number, cells)):
            raise _wrong(path, number, line, "milliseconds and kbit/s")
        starts_s.append(float(cells[0]) / 1e3)
        rates.append(_rate(path, number, cells[1], 1e3 / 8))
        if len(starts_s) > 1 and starts_s[-1] <= starts_s[-2]:
            raise _wrong(path, number, line, f"later than the {starts_s[-2] * 1e3:g} ms before it")
    if len(starts_s) < 2:
        raise ConfigError(f"{path}: two pairs at least, or the trace has no length")
    begin_s = starts_s[0]
    last_s = starts_s[-1] - starts_s[-2]
    return [at_s - begin_s for at_s in starts_s], rates, starts_s[-1] - begin_s + last_s


def _ucc(path: Path, lines: Sequence[str]) -> _Steps:
    """Rates of the seconds with a download, one after another; gaps of the clock are left out."""
    rows = csv.reader([lines[0].lstrip("\ufeff"), *lines[1:]], strict=True)
    header = next(rows)
    places = [header.index(name) for name in _UCC]
    by_second = dict[datetime, float]()
    try:
        for number, row in enumerate(rows, 2):
            if len(row) != len(header):
                raise _wrong(path, number, ",".join(row), f"{len(header)} columns")
            time, rate, state = (row[place].strip() for place in places)
            if state == _IDLE:
                continue
            if state != _BUSY or not _is_number(rate):
                raise _wrong(path, number, f"{rate},{state}", "kbit/s and state D or I")
            by_second[_second(path, number, time)] = _rate(path, number, rate, 1e3 / 8)
    except csv.Error as error:
        raise ConfigError(f"{path}: no CSV: {error}") from error
    if not by_second:
        raise ConfigError(f"{path}: nothing is ever downloaded (state D) in this trace")
    if any(after < before for before, after in pairwise(by_second)):
        raise ConfigError(f"{path}: its seconds are not in order")
    return list(map(float, range(len(by_second)))), list(by_second.values()), float(len(by_second))


def _second(path: Path, number: int, text: str) -> datetime:
    try:
        return datetime.strptime(text, _TIME)
    except ValueError:
        raise _wrong(path, number, text, "a time such as 2019.12.16_13.40.04") from None


def _rate(path: Path, number: int, text: str, factor: float) -> float:
    rate = float(text) * factor
    if not (math.isfinite(rate) and rate >= 0):
        raise _wrong(path, number, text, "a rate that is finite and not negative")
    return rate


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _wrong(path: Path, number: int, found: str, expected: str) -> ConfigError:
    return ConfigError(f"{path}, line {number}: expected {expected}, found {found.strip()!r:.80}")
