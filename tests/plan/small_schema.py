"""As much of JSON Schema as the generated schema uses; a keyword that it doesn't know is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_ABOUT = {"$schema", "$defs", "title", "description", "default"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def errors(schema: dict[str, Any], value: Any) -> list[str]:
    """Where `value` isn't what the schema says."""
    return list(_errors(schema, schema, value, "$"))


def _errors(root: dict[str, Any], schema: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    for keyword, said in schema.items():
        if keyword not in _ABOUT:
            yield from _keyword(root, schema, keyword, said, value, at)


def _keyword(
    root: dict[str, Any], schema: dict[str, Any], keyword: str, said: Any, value: Any, at: str
) -> Iterator[str]:
    match keyword:
        case "$ref":
            yield from _errors(root, root["$defs"][said.removeprefix("#/$defs/")], value, at)
        case "type":
            if not isinstance(value, _TYPES[said]) or (isinstance(value, bool) and said != "boolean"):
                yield f"{at} is no {said}"
        case "enum":
            if value not in said:
                yield f"{at} is none of {said}"
        case "anyOf":
            if all(list(_errors(root, one, value, at)) for one in said):
                yield f"{at} is nothing that it may be"
        case "pattern" | "maxLength":
            if isinstance(value, str):
                fits = len(value) <= said if keyword == "maxLength" else re.search(said, value)
                if not fits:
                    yield f"{at} breaks {keyword} {said}"
        case "minimum" | "maximum":
            if isinstance(value, int | float) and (value < said if keyword == "minimum" else value > said):
                yield f"{at} breaks {keyword} {said}"
        case "items" | "minItems":
            if isinstance(value, list):
                yield from _items(root, keyword, said, value, at)
        case "properties" | "patternProperties" | "additionalProperties" | "propertyNames" | "required":
            if isinstance(value, dict):
                yield from _members(root, schema, keyword, said, value, at)
        case _:
            raise NotImplementedError(f"the schema says {keyword}, which is not known here")


def _items(root: dict[str, Any], keyword: str, said: Any, value: list[Any], at: str) -> Iterator[str]:
    if keyword == "minItems":
        if len(value) < said:
            yield f"{at} has less than {said}"
        return
    for index, item in enumerate(value):
        yield from _errors(root, said, item, f"{at}[{index}]")


def _members(
    root: dict[str, Any], schema: dict[str, Any], keyword: str, said: Any, value: dict[str, Any], at: str
) -> Iterator[str]:
    if keyword == "required":
        yield from (f"{at} lacks {name}" for name in said if name not in value)
        return
    patterns = schema.get("patternProperties", {})
    for name, one in value.items():
        here = f"{at}.{name}"
        match keyword:
            case "properties" if name in said:
                yield from _errors(root, said[name], one, here)
            case "patternProperties":
                for pattern, inside in said.items():
                    if re.search(pattern, name):
                        yield from _errors(root, inside, one, here)
            case "propertyNames":
                yield from _errors(root, said, name, f"{at}'s name {name}")
            case "additionalProperties":
                known = name in schema.get("properties", {}) or any(re.search(p, name) for p in patterns)
                if not known and said is False:
                    yield f"{here} is not known"
                elif not known and isinstance(said, dict):
                    yield from _errors(root, said, one, here)
