"""Recordings of a meter as CSV: written, read, and played again as a sensor.

Columns: at_s, one of watts and joules, and where wanted is_break, scope, and `part:NAME` for each
part. Lines `# key: value` say what the recorded sensor was, `# scope: board input` above all.
"""

import csv
import io
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import cast

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import Kind, Scope, SensorInfo
from edgesplit.errors import MeterError

PART = "part:"
_FIGURES = {"watts", "joules"}
_KNOWN = {"at_s", "is_break", "scope"} | _FIGURES
_NUMBERS = ("update_s", "averaging_s", "resolution", "rel_accuracy")
_AND = "; "


@dataclass(frozen=True)
class _Row:
    """One line of data as cells by column; line counts from 1."""

    line: int
    cells: dict[str, str]

    def number(self, column: str) -> float:
        """A finite number, or ValueError with what stands there."""
        text = self.cells[column]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"{column} is {text!r}, not a finite number")
        return value

    def reading(self) -> Reading:
        """The row as a reading. Raises ValueError."""
        is_break = self.cells.get("is_break", "0")
        if is_break not in ("0", "1"):
            raise ValueError(f"is_break is {is_break!r}, not 0 or 1")
        [figure] = _FIGURES & self.cells.keys()
        parts = [c for c in self.cells if c.startswith(PART) and self.cells[c]]
        return Reading(
            self.number("at_s"),
            **{figure: self.number(figure)},
            parts={column.removeprefix(PART): self.number(column) for column in parts},
            is_break=is_break == "1",
        )


@dataclass(frozen=True)
class _Recording:
    """What a file holds: its readings in the order of time, and what its header says."""

    readings: list[Reading]
    said: dict[str, str] = field(default_factory=dict)


def read_recording(path: Path) -> list[Reading]:
    """The readings of a file, at its own times. Raises MeterError with the line that is wrong."""
    return _parse(path).readings


def write_recording(path: Path, readings: Sequence[Reading], info: SensorInfo) -> None:
    """Write what a sensor said, so that read_recording gives the same back.

    Raises MeterError for no readings, for joules among watts, and where the file cannot be written.
    """
    figures = {"watts" if reading.joules is None else "joules" for reading in readings}
    if len(figures) != 1:
        raise MeterError(f"a recording holds readings of watts or of joules, given {figures}")
    [figure] = figures
    parts = list(dict.fromkeys(part for reading in readings for part in reading.parts))
    text = io.StringIO()
    text.writelines(f"# {key}: {value}\n" for key, value in _describe(info).items())
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["at_s", figure, "is_break", *(PART + part for part in parts)])
    for reading in readings:
        value = reading.watts if reading.joules is None else reading.joules
        cells = [reading.parts.get(part, "") for part in parts]
        writer.writerow([reading.at_s, value, int(reading.is_break), *cells])
    try:
        path.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise MeterError(f"{path} cannot be written: {error.strerror}") from error


class ReplaySensor:
    """Plays a recording from the moment of open() on, as if its device were there.

    Between two readings the last one holds, as a sensor's register would. After the end of the
    recording a read is an error.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        self._path = path
        self._clock = clock
        self._readings: list[Reading] = []
        self._opened_s = 0.0
        self._played = 0  # readings that were passed
        self._info = SensorInfo(
            "replay", "device", "power", 0.0, 0.0, 0.0, math.nan, (), f"recording {path.name}"
        )

    @property
    def info(self) -> SensorInfo:
        """What was recorded; known once open() has been called."""
        return self._info

    def open(self) -> None:
        """Read the file and begin. Raises MeterError where it is malformed."""
        recording = _parse(self._path)
        self._info = _info(self._path, recording)
        self._readings = recording.readings
        self._played = 0
        self._opened_s = self._clock()

    def read(self) -> Reading:
        """The last reading not after now, at the time of now; a break if one was passed since."""
        if not self._readings:
            raise MeterError("replay is not open", "call open() first")
        now_s = self._clock()
        recorded_s = self._readings[0].at_s + now_s - self._opened_s
        end_s = self._readings[-1].at_s
        if recorded_s > end_s:
            raise MeterError(
                f"{self._path} ended after {end_s - self._readings[0].at_s:g} s",
                "record for longer, or open it again to play it from its start",
            )
        first, self._played = self._played, _count_until(self._readings, recorded_s)
        is_break = any(reading.is_break for reading in self._readings[first : self._played])
        return replace(self._readings[self._played - 1], at_s=now_s, is_break=is_break)

    def close(self) -> None:
        """Forget the recording."""
        self._readings = []


def _count_until(readings: list[Reading], at_s: float) -> int:
    """How many readings are not after at_s; at least the first is taken to be."""
    return max(1, bisect_right(readings, at_s, key=lambda reading: reading.at_s))


def _parse(path: Path) -> _Recording:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MeterError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MeterError(f"{path} is not text in UTF-8: {error}") from error
    said: dict[str, str] = {}
    readings: list[Reading] = []
    for row in _rows(path, text, said):
        try:
            readings.append(row.reading())
            _check_order(readings[-2:])
            scope = row.cells.get("scope")
            if scope is not None and scope != said.setdefault("scope", scope):
                raise ValueError(f"scope is {scope!r}, before it was {said['scope']!r}")
        except ValueError as error:
            raise MeterError(f"{path}, line {row.line}: {error}") from error
    if not readings:
        raise MeterError(f"{path} holds no reading", "at_s,watts and then one reading a line")
    return _Recording(readings, said)


def _rows(path: Path, text: str, said: dict[str, str]) -> Iterator[_Row]:
    """The rows below the header; what comments say goes into `said`. Raises MeterError."""
    columns: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            key, colon, value = line.removeprefix("#").partition(":")
            if colon:
                said[key.strip()] = value.strip()
        elif line.strip():
            cells = _cells(path, number, line)
            if not columns:
                columns = cells
                _check_columns(path, number, columns)
            elif len(cells) != len(columns):
                raise MeterError(
                    f"{path}, line {number}: {len(cells)} cells, expected {len(columns)}"
                )
            else:
                yield _Row(number, dict(zip(columns, cells, strict=True)))


def _cells(path: Path, number: int, line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        raise MeterError(f"{path}, line {number}: {error}") from error


def _check_columns(path: Path, number: int, columns: list[str]) -> None:
    unknown = [c for c in columns if c not in _KNOWN and not c.startswith(PART)]
    is_one_figure = len(_FIGURES & set(columns)) == 1
    if unknown or "at_s" not in columns or not is_one_figure or len(set(columns)) < len(columns):
        raise MeterError(
            f"{path}, line {number}: columns are at_s, one of watts and joules, and if wanted "
            f"is_break, scope, {PART}NAME, each once; given {', '.join(columns)}"
        )


def _check_order(pair: list[Reading]) -> None:
    """Raise ValueError where time stands or joules fall from one reading to the next."""
    before, after = pair[0], pair[-1]
    if before is after:
        return
    if after.at_s <= before.at_s:
        raise ValueError(f"at_s is {after.at_s}, not after {before.at_s}")
    if after.joules is not None and before.joules is not None and after.joules < before.joules:
        raise ValueError(f"joules fall from {before.joules} to {after.joules}")


def _describe(info: SensorInfo) -> dict[str, str]:
    """A sensor in words for a recording's header, each on one line."""
    words = {"scope": info.scope, "source": info.id, "kind": info.kind}
    words |= {key: str(getattr(info, key)) for key in _NUMBERS}
    words |= {"excludes": _AND.join(info.excludes), "provenance": info.provenance}
    return {key: " ".join(value.split()) for key, value in words.items()}


def _info(path: Path, recording: _Recording) -> SensorInfo:
    """What was recorded. Where the header is silent: the longest gap as update_s, else nothing."""
    said, readings = recording.said, recording.readings
    gaps_s = [b.at_s - a.at_s for a, b in pairwise(readings)]
    silent = {"update_s": max(gaps_s, default=0.0), "averaging_s": 0.0, "resolution": 0.0}
    try:
        numbers = {key: float(said.get(key, silent.get(key, math.nan))) for key in _NUMBERS}
    except ValueError as error:
        raise MeterError(
            f"{path}: a header of {', '.join(_NUMBERS)} is no number: {error}"
        ) from error
    kind: Kind = "counter" if readings[0].joules is not None else "power"
    sensor = said.get("source", "a source that is not named")
    words = [f"recording {path.name} of {sensor}"]
    words += [said["provenance"]] if "provenance" in said else []
    words += [] if "scope" in said else ["its scope is not stated"]
    return SensorInfo(
        id="replay",
        scope=cast(Scope, said.get("scope", "device")),  # checked by SensorInfo
        kind="model" if said.get("kind") == "model" else kind,
        excludes=tuple(filter(None, said.get("excludes", "").split(_AND))),
        provenance=_AND.join(words),
        **numbers,
    )
