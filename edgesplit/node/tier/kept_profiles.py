"""Layer times of a program as this host measured them, kept beside it for later sessions.

A file per payload form and runtime; typed, versioned, checked when it is read. What is damaged,
stale or of another state of the host is not there. Where nothing can be written, nothing is kept.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edgesplit.core.given import is_finite
from edgesplit.core.layer_times import LayerTimes, are_seconds
from edgesplit.node.process.kept_file import read_kept, write_kept
from edgesplit.node.runtime.check import Exactness

STALE_S = 7 * 24 * 3600.0
FILES_KEPT = 64  # per program: whoever sends pictures of many sizes does not fill the disk
_FORMAT = 1
_NAME_DIGITS = 16
_SOME = Exactness()


class KeptTimes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One runtime's layer times, without emulation; or why it may not be used.

    measured_s, checked_s: time.time()'s. whole_s: of the whole model when it was checked last.
    error, tolerance, exact: how far it was from eager torch, and how far it might be.
    """

    runtime: str
    layer_s: tuple[float, ...]
    measured_s: float
    checked_s: float
    whole_s: float
    error: float | None = None
    tolerance: float = _SOME.tolerance
    exact: bool = _SOME.exact
    refusal: str = ""

    @property
    def total_s(self) -> float:
        """Of the whole model when it was measured."""
        return sum(self.layer_s)

    @property
    def provenance(self) -> str:
        """When it was measured, and when it was checked if that was later."""
        return when(self.measured_s, self.checked_s)

    def times(self, slowdown: float = 1.0) -> LayerTimes:
        """Layer times that sum to the whole run when it was checked last, times the slowdown."""
        factor = slowdown * (self.whole_s / self.total_s if self.total_s else 1.0)
        layer_s = tuple(s * factor for s in self.layer_s)
        return LayerTimes(self.runtime, layer_s, self.provenance, self.error)

    def is_for(self, wanted: Exactness) -> bool:
        """Whether it was judged as `wanted` wants it."""
        return (self.tolerance, self.exact) == (wanted.tolerance, wanted.exact)


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    host: dict[str, str]
    times: KeptTimes


class KeptProfiles:
    """Of one payload form of one program.

    folder: the program's own; None: nothing is kept. form: what the payload looks like and how the
    tier computes. host: the state of this host, of which the figures hold. clock: as time.time.
    """

    def __init__(
        self,
        folder: Path | None = None,
        form: str = "",
        host: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._host, self.now_s = folder, dict(host or {}), clock
        # Hosts may share a home: each has files of its own.
        key = f"{self._host.get('host')} {form}".encode()
        self._name = hashlib.sha256(key).hexdigest()[:_NAME_DIGITS]

    def find(self, runtime: str, n_layers: int) -> KeptTimes | None:
        """What is kept of that runtime and still holds; to be checked before it is used."""
        path = self._path(runtime)
        if path is None:
            return None
        found = read_kept(path, _File)
        if found is None:
            return None
        times = found.times
        is_now = times.measured_s <= times.checked_s <= self.now_s() < times.measured_s + STALE_S
        is_here = found.format == _FORMAT and found.host == self._host
        is_right = times.runtime == runtime and _is_valid(times, n_layers)
        return times if is_now and is_here and is_right else None

    def keep(self, times: KeptTimes) -> KeptTimes:
        """In place of what was kept of that runtime; returns it, kept or not."""
        if path := self._path(times.runtime):
            write_kept(path, _File(format=_FORMAT, host=self._host, times=times), FILES_KEPT)
        return times

    def drop(self, runtime: str) -> None:
        """Keep nothing of that runtime any more."""
        with contextlib.suppress(OSError):
            if path := self._path(runtime):
                path.unlink()

    def _path(self, runtime: str) -> Path | None:
        return self._folder and self._folder / "profiles" / f"{self._name}.{runtime}"


def _is_valid(times: KeptTimes, n_layers: int) -> bool:
    if times.refusal:
        return True
    is_whole = is_finite(times.whole_s) and times.whole_s > 0
    is_error = times.error is None or (is_finite(times.error) and times.error >= 0)
    is_all = len(times.layer_s) == n_layers and are_seconds(times.layer_s)
    return is_whole and is_error and is_all and times.total_s > 0


def when(measured_s: float, checked_s: float) -> str:
    """The moments, of time.time(), as people read them; the second one where it was later."""
    measured, checked = (
        datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        for at_s in (measured_s, checked_s)
    )
    return f"measured {measured}" + (f", checked {checked}" if checked != measured else "")
