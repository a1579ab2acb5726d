"""Small checks that a JSON value can be put through; each adds what is wrong, with its place, to a list."""

from __future__ import annotations

import difflib
from typing import Any, Callable, Dict, List, Mapping, Optional, Pattern, Sequence, cast

Check = Callable[[Any, str, List[str]], None]


def text(pattern: Optional[Pattern[str]] = None, rule: str = "", empty: bool = True) -> Check:
    """A string; with a pattern, one that matches it as a whole."""

    def check(value: Any, where: str, problems: List[str]) -> None:
        if not isinstance(value, str):
            problems.append("%s must be a string" % where)
        elif "\0" in value or not _encodable(value):
            problems.append("%s holds characters that no file can" % where)
        elif not empty and not value:
            problems.append("%s must not be empty" % where)
        elif pattern is not None and not pattern.fullmatch(value):
            problems.append("%s is %r: %s" % (where, value, rule))

    return check


def whole(low: int, high: int) -> Check:
    """A whole number between two bounds."""

    def check(value: Any, where: str, problems: List[str]) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            problems.append("%s must be a whole number from %d to %d" % (where, low, high))

    return check


def number(low: float, high: float) -> Check:
    """A number between two bounds."""

    def check(value: Any, where: str, problems: List[str]) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            problems.append("%s must be a number from %g to %g" % (where, low, high))

    return check


def flag(value: Any, where: str, problems: List[str]) -> None:
    """True or false."""
    if not isinstance(value, bool):
        problems.append("%s must be true or false" % where)


def one_of(*words: object) -> Check:
    """One of a few values."""

    def check(value: Any, where: str, problems: List[str]) -> None:
        if isinstance(value, bool) or value not in words:
            problems.append("%s is %r; it must be %s" % (where, value, " or ".join(map(repr, words))))

    return check


def anything(value: Any, where: str, problems: List[str]) -> None:
    """Any JSON value: it is handed on as it is."""


def optional(item: Check) -> Check:
    """Something that may be null as well."""

    def check(value: Any, where: str, problems: List[str]) -> None:
        if value is not None:
            item(value, where, problems)

    return check


def then(form: Check, further: Check) -> Check:
    """What is of a form, and only that, is looked at further: `further` may rely on the form."""

    def check(value: Any, where: str, problems: List[str]) -> None:
        before = len(problems)
        form(value, where, problems)
        if len(problems) == before:
            further(value, where, problems)

    return check


def listing(item: Check, least: int = 0, most: Optional[int] = None) -> Check:
    """A list of one kind of thing."""

    def check(value: Any, where: str, problems: List[str]) -> None:
        if not isinstance(value, list):
            problems.append("%s must be a list" % where)
            return
        entries = cast("List[Any]", value)
        if least == most and len(entries) != least:
            problems.append("%s must have exactly %d entries" % (where, least))
        elif len(entries) < least:
            problems.append("%s must not be empty" % where)
        for index, entry in enumerate(entries):
            item(entry, "%s[%d]" % (where, index), problems)

    return check


def mapping(key: Check, item: Check) -> Check:
    """An object whose keys are free."""

    def check(value: Any, where: str, problems: List[str]) -> None:
        if not isinstance(value, dict):
            problems.append("%s must be an object" % where)
            return
        for name, entry in cast("Dict[str, Any]", value).items():
            key(name, "a key of %s" % (where or "it"), problems)
            item(entry, "%s.%s" % (where, name) if where else name, problems)

    return check


def record(required: Mapping[str, Check], optional: Optional[Mapping[str, Check]] = None) -> Check:
    """An object whose keys are fixed; others are refused with the nearest right one."""
    known: Dict[str, Check] = dict(required)
    known.update(optional or {})

    def check(value: Any, where: str, problems: List[str]) -> None:
        if not isinstance(value, dict):
            problems.append("%s must be an object" % (where or "it"))
            return
        entries = cast("Dict[str, Any]", value)
        prefix = where + "." if where else ""
        for name in sorted(set(entries) - set(known)):
            problems.append("%s is unknown%s" % (prefix + name, _nearest(name, list(known))))
        for name in required:
            if name not in entries:
                problems.append("%s is missing" % (prefix + name))
        for name, item in known.items():
            if name in entries:
                item(entries[name], prefix + name, problems)

    return check


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return " (did you mean %s?)" % near[0] if near else ""


def _encodable(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
