"""Links as a tier's host measured them a short time ago, kept for the next session that opens."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgesplit.core.given import is_finite
from edgesplit.node.meter.host_state import boot_id, host_id
from edgesplit.node.process.kept_file import read_kept, write_kept
from edgesplit.node.program.store_folder import is_own
from edgesplit.node.tier.kept_profiles import when

STALE_S = 600.0
NEAR = 1.25  # how far a probe may be from what is kept
NEAR_S = 5e-4  # and in any case: a busy host wakes up as much later
_FORMAT = 1
_FILES_KEPT = 256
_PROBES = 3
_NAME_DIGITS = 16
ProbeOnce = Callable[[int], tuple[float, float]]  # bytes; seconds there and back, and latency


class KeptLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A directed link. measured_s, checked_s: time.time()'s."""

    format: int = _FORMAT
    latency_s: float
    bytes_per_s: float
    measured_s: float
    checked_s: float

    @property
    def provenance(self) -> str:
        """When it was measured, and when it was checked if that was later."""
        return when(self.measured_s, self.checked_s)

    def is_near(self, n_bytes: int, seconds: float, latency_s: float) -> bool:
        """Whether a probe agrees with it."""
        expected_s = n_bytes / self.bytes_per_s + 2 * self.latency_s
        return _near(seconds, expected_s) and _near(2 * latency_s, 2 * self.latency_s)


class KeptLinks:
    """folder: of the host's programs, which is this user's own, or nothing is kept there."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock

    def measured(self, way: str, n_bytes: int, probe: ProbeOnce) -> KeptLink:
        """The link: as it is kept where a probe agrees with that, else by three probes.

        way: what tells the link from others that leave this host: both addresses, and what shapes
        and secures it. Raises as probe().
        """
        path, known = self._path(way), self._find(way)
        probes = [probe(n_bytes)]
        now_s = self._clock()
        if known is not None and known.is_near(n_bytes, *probes[0]):
            found = replace(known, checked_s=now_s)
        else:
            probes += [probe(n_bytes) for _ in range(_PROBES - 1)]
            latency_s = min(latency_s for _, latency_s in probes)
            bulk_s = min(seconds for seconds, _ in probes) - 2 * latency_s
            rate = n_bytes / max(bulk_s, 1e-6)
            found = KeptLink(
                latency_s=latency_s, bytes_per_s=rate, measured_s=now_s, checked_s=now_s
            )
        if is_own(self._folder):
            write_kept(path, found, _FILES_KEPT)
        return found

    def _find(self, way: str) -> KeptLink | None:
        known = read_kept(self._path(way), KeptLink) if is_own(self._folder) else None
        if known is None or known.format != _FORMAT:
            return None
        is_link = is_finite(known.latency_s) and known.latency_s >= 0 and known.bytes_per_s > 0
        is_now = known.measured_s <= known.checked_s <= self._clock() < known.measured_s + STALE_S
        return known if is_link and is_now and is_finite(known.bytes_per_s) else None

    def _path(self, way: str) -> Path:
        key = f"{host_id()} {boot_id()} {way}".encode()
        return self._folder / "links" / hashlib.sha256(key).hexdigest()[:_NAME_DIGITS]


def _near(seconds: float, expected_s: float) -> bool:
    slack_s = max(NEAR_S, (NEAR - 1) * expected_s)
    return abs(seconds - expected_s) <= slack_s
