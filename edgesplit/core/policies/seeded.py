"""Numbers that look drawn: the same seed gives the same ones, on any machine and in any version."""

from collections.abc import Iterator
from hashlib import sha256
from itertools import count

_BYTES = 8  # of the digest, for one number


def draws(*seed: object) -> Iterator[float]:
    """Numbers from 0 to below 1 without end. seed: values whose repr() tells them apart."""
    for number in count():
        digest = sha256(repr((*seed, number)).encode()).digest()[:_BYTES]
        yield (int.from_bytes(digest, "big") >> 11) / 2**53


def pick(numbers: Iterator[float], choices: int) -> int:
    """The next draw as one of `choices` whole numbers from 0."""
    return int(next(numbers) * choices)
