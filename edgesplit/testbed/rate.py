"""Rates as people write them: 40MB/s, 5Mbit/s."""

import re

from edgesplit.errors import TestbedError

_UNITS = {"B/s": 1.0, "bit/s": 1 / 8}
_SCALES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)(B/s|bit/s)")


def parse_rate(text: str) -> float:
    """Bytes per second from text such as 40MB/s or 5Mbit/s. Raises TestbedError."""
    found = _RATE.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise TestbedError(
            f"a rate is a number above 0 and B/s or bit/s with k, M or G, such as 40MB/s or "
            f"5Mbit/s, given {text!r}"
        )
    return float(found[1]) * _SCALES[found[2]] * _UNITS[found[3]]


def rate_text(bytes_per_s: float) -> str:
    """The same the other way round, in the larger unit that reads well."""
    if bytes_per_s >= 1e6:
        return f"{bytes_per_s / 1e6:g}MB/s"
    return f"{bytes_per_s * 8 / 1e6:g}Mbit/s"
