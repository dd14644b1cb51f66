"""Values as plain data for JSON and back, by their declared types: dataclasses, tuples, numbers.

What comes back is checked: nothing but the declared types is made, whatever the data say. Infinity
and NaN, which JSON lacks, are text. A function cannot be written: None stands for it.
"""

import math
import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from edgesplit.core.given import is_number, is_whole

_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_MOST_CHARACTERS = 10_000


class PlainDataError(ValueError):
    """Data that are not of the declared type. where: the path to them."""

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.what, self.where = what, where

    def within(self, name: str) -> "PlainDataError":
        """The same as seen from one level further out."""
        return PlainDataError(self.what, f"{name}.{self.where}".rstrip("."))


@dataclass(frozen=True)
class PlainForm:
    """Both ways for one type. decode raises PlainDataError."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


@cache
def plain_form(kind: Hashable) -> PlainForm:
    """The plain form of a type. Raises TypeError for one that it cannot write."""
    origin, args = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _record(kind)
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if origin is Literal:
        return _one_of(args)
    if origin in (Union, types.UnionType):
        return _union(args)
    if origin is tuple:
        return _many(args[0]) if args[-1] is Ellipsis else _row(args)
    if origin is frozenset:
        return _set(args[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(*args)
    if origin is Callable:
        return PlainForm(lambda value: None, lambda data: None)
    raise TypeError(f"values of {kind} have no plain form")


def tagged(kinds: tuple[type, ...]) -> PlainForm:
    """Of dataclasses that are told apart by their names: [name, fields]."""
    by_name = {kind.__name__: kind for kind in kinds}

    def encode(value: Any) -> Any:
        return [type(value).__name__, plain_form(by_name[type(value).__name__]).encode(value)]

    def decode(data: Any) -> Any:
        name, data = _length(data, 2)
        if not isinstance(name, str) or name not in by_name:
            raise PlainDataError(f"expected one of {', '.join(by_name)}, found {name!r:.80}")
        try:
            return plain_form(by_name[name]).decode(data)
        except PlainDataError as error:
            raise error.within(name) from None

    return PlainForm(encode, decode)


def _record(kind: Any) -> PlainForm:
    hints = get_type_hints(kind)
    names = [item.name for item in fields(kind)]

    def encode(value: Any) -> Any:
        return {name: plain_form(hints[name]).encode(getattr(value, name)) for name in names}

    def decode(data: Any) -> Any:
        if not isinstance(data, dict) or set(data) != set(names):
            raise PlainDataError(f"expected the fields {', '.join(names)}, found {data!r:.200}")
        values = {}
        for name in names:
            try:
                values[name] = plain_form(hints[name]).decode(data[name])
            except PlainDataError as error:
                raise error.within(name) from None
        try:
            return kind(**values)
        except (ValueError, ArithmeticError, LookupError, TypeError) as error:
            raise PlainDataError(f"no {kind.__name__}: {error}") from error

    return PlainForm(encode, decode)


def _union(args: tuple[Any, ...]) -> PlainForm:
    kinds = tuple(kind for kind in args if kind is not type(None))
    if len(kinds) > 1 and all(map(is_dataclass, kinds)):
        inner = tagged(kinds)
    elif len(kinds) > 1:
        return _text_or_row(kinds)
    else:
        inner = plain_form(kinds[0])
    if len(kinds) == len(args):
        return inner
    return PlainForm(
        lambda value: None if value is None else inner.encode(value),
        lambda data: None if data is None else inner.decode(data),
    )


def _text_or_row(kinds: tuple[Any, ...]) -> PlainForm:
    """A name, or a row of names."""
    [row] = [kind for kind in kinds if kind is not str]

    def of(value: Any) -> PlainForm:
        return plain_form(str) if isinstance(value, str) else plain_form(row)

    return PlainForm(lambda value: of(value).encode(value), lambda data: of(data).decode(data))


def _many(kind: Any) -> PlainForm:
    one = plain_form(kind)
    return PlainForm(
        lambda value: [one.encode(item) for item in value],
        lambda data: tuple(_each(one, _list(data))),
    )


def _row(kinds: tuple[Any, ...]) -> PlainForm:
    forms = [plain_form(kind) for kind in kinds]
    return PlainForm(
        lambda value: [each.encode(item) for each, item in zip(forms, value, strict=True)],
        lambda data: tuple(
            each.decode(item) for each, item in zip(forms, _length(data, len(forms)), strict=True)
        ),
    )


def _set(kind: Any) -> PlainForm:
    one = plain_form(kind)
    return PlainForm(
        lambda value: sorted(one.encode(item) for item in value),
        lambda data: frozenset(_each(one, _list(data))),
    )


def _mapping(key: Any, value: Any) -> PlainForm:
    """As a list of pairs: a key need not be text."""
    pairs = _many(tuple[key, value])
    return PlainForm(
        lambda mapping: pairs.encode(mapping.items()), lambda data: dict(pairs.decode(data))
    )


def _one_of(allowed: tuple[Any, ...]) -> PlainForm:
    def decode(data: Any) -> Any:
        if not isinstance(data, str) or data not in allowed:
            raise PlainDataError(f"expected one of {allowed}, found {data!r:.80}")
        return data

    return PlainForm(lambda value: value, decode)


def _each(one: PlainForm, items: list[Any]) -> list[Any]:
    found = []
    for number, item in enumerate(items):
        try:
            found.append(one.decode(item))
        except PlainDataError as error:
            raise error.within(str(number)) from None
    return found


def _list(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise PlainDataError(f"expected a list, found {data!r:.80}")
    return data


def _length(data: Any, length: int) -> list[Any]:
    if len(_list(data)) != length:
        raise PlainDataError(f"expected {length} values, found {data!r:.80}")
    return data  # type: ignore[no-any-return]


def _text(data: Any) -> str:
    if not isinstance(data, str) or len(data) > _MOST_CHARACTERS:
        raise PlainDataError(f"expected a text, found {data!r:.80}")
    return data


def _bool(data: Any) -> bool:
    if not isinstance(data, bool):
        raise PlainDataError(f"expected true or false, found {data!r:.80}")
    return data


def _whole(data: Any) -> int:
    if not is_whole(data) or abs(data) >= 2**63:
        raise PlainDataError(f"expected a whole number, found {data!r:.80}")
    return data


def _number(data: Any) -> float:
    if isinstance(data, str) and data in _NOT_FINITE:
        return _NOT_FINITE[data]
    if not is_number(data):
        raise PlainDataError(f"expected a number, found {data!r:.80}")
    return float(data)


def _written(value: Any) -> Any:
    number = float(value)
    return number if math.isfinite(number) else str(number)


_SIMPLE = {
    str: PlainForm(str, _text),
    bool: PlainForm(bool, _bool),
    int: PlainForm(int, _whole),
    float: PlainForm(_written, _number),
}
