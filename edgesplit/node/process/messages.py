"""What we say to people: other people's errors in our messages, warnings where they can act."""

import sys
import warnings

REASON_LINES = 3
_PACKAGE = "edgesplit"


def first_lines(error: BaseException) -> str:
    """The first lines of the error's text that say something, on one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    text = " ".join([line for line in lines if line][:REASON_LINES])
    return (text or type(error).__name__).rstrip(".")


def warn(text: str, category: type[Warning]) -> None:
    """Warn about the line outside of this package that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)
