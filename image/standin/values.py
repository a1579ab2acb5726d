"""What a record may be: its key, its JSON value, and the one text that a value is kept as (E4)."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import NoReturn, cast

#: Longest key, in characters.
MAX_KEY = 200
#: Longest value, in bytes of its canonical text.
MAX_VALUE = 65_536
#: Deepest nesting of arrays and objects in a value.
MAX_DEPTH = 64

_KEY = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._:@~-]{{0,{MAX_KEY - 1}}}")


class BadValue(Exception):
    """A key or value that can't be kept; the text says why."""


def check_key(key: object) -> str:
    """`key` when it can be one. Raises `BadValue`."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise BadValue(
            f"a key has 1 to {MAX_KEY} characters of A-Z, a-z, 0-9 and _ . : @ ~ -,"
            " and starts with a letter, a digit or _"
        )
    return key


def _no_constant(name: str) -> NoReturn:
    raise BadValue(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise BadValue("a number is too large")
    return number


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadValue("an object has a name twice")
    return fields


def parse(text: bytes) -> object:
    """The value of a JSON text in UTF-8; no NaN, no name twice, no infinite number. Raises `BadValue`."""
    try:
        decoded = text.decode("utf-8")
        value = json.loads(decoded, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique)
        return cast(object, value)
    except RecursionError as error:
        raise BadValue(f"nested deeper than {MAX_DEPTH}") from error
    except ValueError as error:  # bad JSON, bad UTF-8, or an integer of more digits than Python takes
        position = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadValue(f"not valid JSON{position}") from error


def _containers(items: Iterable[object]) -> Iterator[object]:
    """The arrays and objects directly inside `items`."""
    for item in items:
        inner: Iterable[object] = ()
        if isinstance(item, dict):
            inner = cast(dict[str, object], item).values()
        elif isinstance(item, list):
            inner = cast(list[object], item)
        yield from (part for part in inner if isinstance(part, (dict, list)))


def _check_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = list(_containers(level))
        if not level:
            return
    raise BadValue(f"nested deeper than {MAX_DEPTH}")


def canonical(value: object) -> str:
    """The one text of a parsed value: no blanks, names in the order they came in. Raises `BadValue`."""
    _check_depth(value)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise BadValue("a text has half of a surrogate pair") from error
    if size > MAX_VALUE:
        raise BadValue(f"longer than {MAX_VALUE} bytes")
    return text
