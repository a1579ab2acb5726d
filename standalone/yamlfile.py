"""YAML as Go's yaml.v3 reads it, which is what the CLI has: the same file must mean the same to both engines."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, cast

import yaml

from standalone.errors import UserError

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_DEEPEST = 100  # far more than a stack file needs, far less than Python's recursion bears
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<x>[0-9a-fA-F]+)|0[bB](?P<b>[01]+)|0[oO]?(?P<o>[0-7]+)|(?P<d>0|[1-9][0-9]*))"
)
_BASES = {"x": 16, "b": 2, "o": 8, "d": 10}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def number(text: str) -> int | float | None:
    """The number that a plain scalar is: `010` is 8, `8_301` is 8301, `08` is 8; None when it is text."""
    if text[:1] not in tuple("+-.0123456789"):
        return None
    plain = text if text[0] == "." else text.replace("_", "")
    found = _INTEGER.fullmatch(plain)
    if found and len(plain) < 100:
        kind = next(kind for kind in _BASES if found[kind])
        value = int(found["sign"] + found[kind], _BASES[kind])
        if -(2**63) <= value < 2**64:
            return value
    if not _FLOAT.fullmatch(plain) or math.isinf(value := float(plain)):
        return None
    # Go writes 1e3 as 1000, and exponents from 1e21 on.
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


class _Loader(_Base):
    """Scalars as Go's parser has them (`8301:22`, `on` are text); a key twice is an error. Dates stay text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and implicit[0] and (found := number(value)) is not None:
            return f"{_TAG}{'int' if isinstance(found, int) else 'float'}"
        return _Base.resolve(self, kind, value, implicit)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return _Base.construct_object(self, node, deep=deep)
        except (ValueError, TypeError, KeyError, AttributeError):
            # `!!int abc` and the like: the constructors trust the tag.
            kind = str(node.tag).removeprefix(_TAG)
            raise yaml.constructor.ConstructorError(
                None, None, f"this is no value of the type {kind}", node.start_mark
            ) from None

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a list or a map can't be a key", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
        return _Base.construct_mapping(self, node, deep=deep)


def _number_of(loader: Any, node: Any) -> int | float:
    text = str(loader.construct_scalar(node))
    value = number(text)
    if value is None:
        value = _SPECIAL.get(text.lower().lstrip("+"))
    if value is None:
        raise ValueError(text)
    return value


_SPECIAL = {".inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
# What JSON has no form for (dates, sets, bytes) is refused with its place, as any unknown tag is.
_Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in _Base.yaml_constructors.items()
    if tag is None or tag in {f"{_TAG}{kind}" for kind in ("null", "bool", "str", "seq", "map")}
}
_Loader.add_constructor(f"{_TAG}int", _number_of)
_Loader.add_constructor(f"{_TAG}float", _number_of)


def _check(value: object, depth: int) -> None:
    """Raise ValueError for what can't become JSON; a structure that holds itself is too deep, too."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("infinity and NaN are no values of a configuration")
    if not isinstance(value, dict | list):
        return
    if not depth:
        raise ValueError(f"nested deeper than {_DEEPEST} levels, or holding itself")
    inside = cast("dict[object, object]", value).values() if isinstance(value, dict) else cast("list[object]", value)
    for item in inside:
        _check(item, depth - 1)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that is a mapping. Raises UserError with the line of the mistake."""
    try:
        data = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 (a safe loader)
        _check(data, _DEEPEST)
    except yaml.MarkedYAMLError as bad:
        mark = bad.problem_mark or bad.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(f"{path.name}{where}: {bad.problem or bad.context}") from None
    except RecursionError:
        raise UserError(f"{path.name}: nested deeper than {_DEEPEST} levels") from None
    except (OSError, UnicodeDecodeError) as bad:
        raise UserError(f"can't read {path}: {bad}") from None
    except (yaml.YAMLError, ValueError, TypeError) as bad:
        raise UserError(f"{path.name}: {bad}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UserError(
            f"{path.name}: expected keys and values at the top, found a {type(cast(object, data)).__name__}"
        )
    return cast("dict[str, Any]", data)
