"""A journal of what is finished, so that an interrupted experiment can go on where it was.

One JSON value per line, the first the settings it belongs to. A line is there whole or not at all:
what an interruption left of the last one is cut off when the journal is opened again.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgesplit.errors import ConfigError

Entry = dict[str, Any]
FILE = "journal.jsonl"


class Journal:
    """Entries of one experiment in the folder `out`; open() reads what is there already."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self._path = out / FILE
        self._settings: Entry = json.loads(json.dumps(settings))
        self._entries: list[Entry] = []

    def open(self, is_fresh: bool = False) -> "Journal":
        """Continue, or begin where there is nothing or is_fresh.

        Raises ConfigError where the journal there has other settings or is damaged, or where the
        folder cannot be written to.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            there = [] if is_fresh else self._read()
            if len(there) < 2:  # nothing was finished under the settings there
                there = [self._settings]
                self._path.write_text(_line(self._settings))
        except OSError as error:
            raise ConfigError(f"cannot write to {self._path}: {error.strerror}") from error
        self._require_same(there[0])
        self._entries = there[1:]
        return self

    def append(self, entry: Entry) -> None:
        """Add an entry, in the file before it counts."""
        with self._path.open("a") as file:
            file.write(_line(entry))
        self._entries.append(entry)

    def find(self, **keys: Any) -> Iterator[Entry]:
        """Entries that have these values, oldest first."""
        for entry in self._entries:
            if all(entry.get(key) == value for key, value in keys.items()):
                yield entry

    def has(self, **keys: Any) -> bool:
        """Whether find() finds any."""
        return next(self.find(**keys), None) is not None

    def _read(self) -> list[Entry]:
        if not self._path.exists():
            return []
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        return [self._parsed(number, line) for number, line in enumerate(whole.splitlines(), 1)]

    def _parsed(self, number: int, line: bytes) -> Entry:
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"{self._path}, line {number} is damaged ({error}); use another --out, or --fresh "
                "to start over"
            ) from error

    def _require_same(self, there: Entry) -> None:
        names = [*self._settings, *(name for name in there if name not in self._settings)]
        changed = [
            f"{name} was {there.get(name)!r}, now {self._settings.get(name)!r}"
            for name in names
            if there.get(name) != self._settings.get(name)
        ]
        if changed:
            raise ConfigError(
                f"{self._path} was begun with other settings: {'; '.join(changed)}. Use the same "
                "settings to continue, another --out, or --fresh to start over"
            )


def _line(entry: Entry) -> str:
    return json.dumps(entry, allow_nan=False, separators=(",", ":")) + "\n"
