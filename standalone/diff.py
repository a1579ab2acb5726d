"""What differs between two sets of inputs, and how that is shown."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from standalone.values import MASK, Props, Redactor, Secret, Unknown, Value, has_locked, masked, plain

Path: TypeAlias = "tuple[str | int, ...]"
DIFF_LINES = 40
SHORT = 100
_SEGMENT = re.compile(r"""\.?([^.\[\]"]+)|\[(\d+|\*)\]|\["((?:[^"\\]|\\.)*)"\]""")


class Absent:
    """The place of a property that isn't there."""


ABSENT = Absent()


@dataclass(frozen=True)
class Change:
    """One difference. Values are as they may be shown or compared; secrets stay Secret."""

    path: Path
    kind: Literal["add", "delete", "update"]
    old: Value = None
    new: Value = None

    @property
    def where(self) -> str:
        """The path as text, such as `environment.PORT` or `triggers[0]`."""
        text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in self.path)
        return text.lstrip(".")


def parse_path(text: str) -> Path:
    """A property path, such as `a.b[0]["c d"]`; `*` stands for any one key or index."""
    segments: list[str | int] = []
    for name, index, quoted in _SEGMENT.findall(text):
        segments.append(int(index) if index.isdigit() else name or index or quoted.replace('\\"', '"'))
    return tuple(segments)


def _get(value: Value, key: str | int) -> Value | Absent:
    if isinstance(value, dict) and isinstance(key, str):
        return value.get(key, ABSENT)
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return value[key]
    return ABSENT


def ignore_changes(new: Props, old: Props, paths: Sequence[str]) -> Props:
    """The new inputs with the old values at the ignored paths (removed there when the old ones have none)."""
    result: Value = deepcopy(new) if paths else new
    for path in paths:
        result = _restore(result, old, parse_path(path))
    return cast("Props", result)


def _restore(new: Value | Absent, old: Value | Absent, path: Path) -> Value:
    new_inner = new.value if isinstance(new, Secret) else new
    old_inner = old.value if isinstance(old, Secret) else old
    if not isinstance(new_inner, (dict, list)):
        return cast(Value, new)
    key, rest = path[0], path[1:]
    if key == "*":
        size = max(len(new_inner), len(old_inner) if isinstance(old_inner, (dict, list)) else 0)
        both = {*new_inner, *(old_inner if isinstance(old_inner, dict) else {})} if isinstance(new_inner, dict) else ()
        keys: list[str | int] = sorted(cast("set[str]", both)) if isinstance(new_inner, dict) else list(range(size))
    else:
        keys = [key]
    for each in keys:
        _restore_one(new_inner, cast(Value, old_inner), each, rest)
    return cast(Value, new)


def _restore_one(new: dict[str, Value] | list[Value], old: Value, key: str | int, rest: Path) -> None:
    was, now = _get(old, key), _get(new, key)
    value: Value | Absent = _restore(now, was, rest) if rest and not isinstance(now, Absent) else was
    if rest and isinstance(now, Absent):
        return
    if isinstance(new, dict) and isinstance(key, str):
        if isinstance(value, Absent):
            new.pop(key, None)
        else:
            new[key] = deepcopy(value)
    elif isinstance(new, list) and isinstance(key, int):
        if isinstance(value, Absent):
            del new[key:]
        elif key < len(new):
            new[key] = deepcopy(value)
        elif key == len(new):
            new.append(deepcopy(value))


def changes(old: Value, new: Value, path: Path = ()) -> list[Change]:
    """Every difference, leaf by leaf; a difference inside a secret is one difference of the whole secret.

    A secret that we can't open (a preview without a passphrase) counts as unchanged; the caller says so.
    """
    if isinstance(old, Secret) or isinstance(new, Secret):
        if has_locked(old) or has_locked(new) or plain(old) == plain(new):
            return []
        return [Change(path, "update", Secret(old), Secret(new))]
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[Change] = []
        for key in [*old, *(k for k in new if k not in old)]:
            found += _entry(_get(old, key), _get(new, key), (*path, key))
        return found
    if isinstance(old, list) and isinstance(new, list):
        found = []
        for index in range(max(len(old), len(new))):
            found += _entry(_get(old, index), _get(new, index), (*path, index))
        return found
    if isinstance(new, Unknown) or isinstance(old, Unknown) or type(old) is not type(new) or old != new:
        numbers = (int, float)
        if isinstance(old, numbers) and isinstance(new, numbers) and not isinstance(old, bool) and old == new:
            return []
        return [Change(path, "update", old, new)]
    return []


def _entry(old: Value | Absent, new: Value | Absent, path: Path) -> list[Change]:
    if isinstance(old, Absent):
        return [] if isinstance(new, Absent) else [Change(path, "add", None, new)]
    if isinstance(new, Absent):
        return [Change(path, "delete", old, None)]
    return changes(old, new, path)


def touches(path: Path, pattern: str) -> bool:
    """Whether a change at a path falls under a pattern such as `triggers[*]` (or takes the pattern's parent away)."""
    wanted = parse_path(pattern)
    return all(w in ("*", p) for w, p in zip(wanted, path, strict=False))


def _text(value: Value, redact: Redactor) -> str:
    shown = masked(value)
    if isinstance(value, Unknown) or shown == MASK:
        return str(shown)
    return redact(json.dumps(shown, ensure_ascii=False))


def _lines(value: Value) -> list[str] | None:
    """A value that is better shown line by line: text of several lines, or a JSON document in a text."""
    if not isinstance(value, str):
        return None
    if value[:1] in "{[":
        try:
            return json.dumps(json.loads(value), indent=2, ensure_ascii=False).splitlines()
        except ValueError:
            pass
    return value.splitlines() if "\n" in value.rstrip("\n") else None


def _document(value: Value) -> dict[str, Value] | list[Value] | None:
    """The JSON document in a text, or None."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return cast("dict[str, Value] | list[Value]", json.loads(value))
        except ValueError:
            return None
    return None


def describe(change: Change, redact: Redactor) -> list[str]:
    """The lines that show a change: `path: old -> new`, of a JSON document those of what differs in it, or a diff."""
    sign = {"add": "+", "delete": "-", "update": "~"}[change.kind]
    old_document, new_document = _document(change.old), _document(change.new)
    if change.kind == "update" and old_document is not None and new_document is not None:
        inner = changes(old_document, new_document, change.path)
        if len(inner) <= DIFF_LINES:
            return [line for each in inner for line in describe(each, redact)]
    before, after = _lines(change.old), _lines(change.new)
    if change.kind == "update" and before is not None and after is not None:
        diff = list(difflib.unified_diff(before, after, "", "", lineterm="", n=1))[2:]
        if len(diff) > DIFF_LINES:
            diff = [*diff[:DIFF_LINES], f"… {len(diff) - DIFF_LINES} more lines"]
        return [f"{sign} {change.where}:", *(f"    {redact(line)}" for line in diff)]
    old, new = _text(change.old, redact), _text(change.new, redact)
    if change.kind == "add":
        return [f"{sign} {change.where}: {_cut(new)}"]
    if change.kind == "delete":
        return [f"{sign} {change.where}: {_cut(old)}"]
    if len(old) + len(new) <= SHORT:
        return [f"{sign} {change.where}: {old} -> {new}"]
    old, new = _around_difference(old, new)
    return [f"{sign} {change.where}:", f"    - {old}", f"    + {new}"]


def _cut(text: str) -> str:
    return text if len(text) <= 2 * SHORT else f"{text[:SHORT]} … {text[-SHORT:]}"


def _around_difference(old: str, new: str) -> tuple[str, str]:
    """Two long lines, each cut to the part where they differ."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    if max(len(old), len(new)) <= 3 * SHORT:
        return old, new

    def cut(text: str) -> str:
        start, end = max(0, head - SHORT // 2), min(len(text), len(text) - tail + SHORT // 2)
        return ("…" if start else "") + _cut(text[start:end]) + ("…" if end < len(text) else "")

    return cut(old), cut(new)
