"""Text of others (names of files) where people or JSON are to read it: one line, valid Unicode."""

import unicodedata


def printable(text: str) -> str:
    """The text with control, formatting and line characters, and bytes that are no text, escaped.

    So that it stays on its line and in its direction: a newline becomes `\\n`, a byte 0xff `\\xff`.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def encodable(text: str) -> str:
    """The text as it is, but for bytes that are no text, escaped: what UTF-8 can hold."""
    return "".join(_escaped(c) if "\ud800" <= c <= "\udfff" else c for c in text)


def columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # Python's stand-in for a byte that is no text
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def duration(seconds: float) -> str:
    """Such as 12 s, 5 min 03 s, 2 h 10 min."""
    minutes, rest = divmod(int(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
