"""Text of others: on one line, in its direction, and as valid UTF-8."""

import json
import os

import pytest

from edgesplit.core.printable import columns, encodable, printable

ODD = [
    ("plain name.png", "plain name.png"),
    ("\u00e4\u65e5\u672c.png", "\u00e4\u65e5\u672c.png"),
    ("a\nb\tc\rd", r"a\nb\tc\rd"),
    ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
    ("\u202egnp.exe", r"\u202egnp.exe"),
    ("\u2066a\u2069\u200b\ufeff", r"\u2066a\u2069\u200b\ufeff"),
    ("a\u2028b\u0085c", r"a\u2028b\x85c"),
    (os.fsdecode(b"bad\xff\x80"), r"bad\xff\x80"),
    ("\ud800", r"\ud800"),
]


@pytest.mark.parametrize(("given", "shown"), ODD)
def test_what_is_shown_is_printable(given, shown):
    assert printable(given) == shown
    assert shown.isprintable()


@pytest.mark.parametrize("given", [given for given, _ in ODD])
def test_what_json_holds_is_utf8_and_otherwise_the_name(given):
    made = encodable(given)
    assert json.loads(json.dumps(made, ensure_ascii=False).encode()) == made
    if not any("\ud800" <= c <= "\udfff" for c in given):
        assert made == given


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("\u65e5\u672c", 4), ("e\u0301", 1), ("\U0001f408", 2), ("", 0)]
)
def test_columns_of_a_terminal(text, width):
    assert columns(text) == width
