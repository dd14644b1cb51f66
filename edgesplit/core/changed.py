"""A value with some fields changed, for those that are made again with every request."""

from typing import TypeVar

_Value = TypeVar("_Value")


def changed(value: _Value, **fields: object) -> _Value:
    """As dataclasses.replace(), ten times as quick: of a dataclass that checks and caches nothing.

    Raises TypeError for a field that there is not.

    Example:
        >>> from edgesplit.core.control.trust import TRUSTED
        >>> changed(TRUSTED, strikes=1).strikes
        1
    """
    known = value.__dict__
    new = object.__new__(type(value))
    new.__dict__.update(known)
    new.__dict__.update(fields)
    if len(new.__dict__) != len(known):
        raise TypeError(f"{type(value).__name__} has no {', '.join(fields.keys() - known.keys())}")
    return new
