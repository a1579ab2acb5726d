"""The JSON Schema of the stack files, generated from the settings: `python -m plan.schema [--check]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from plan.settings import PROJECT, Settings

FILE = Path("schema/stack.schema.json")


def stack_schema() -> dict[str, Any]:
    """The schema of a whole `Pulumi.<stack>.yaml`; unknown keys of our namespace are refused, others are not."""
    settings = Settings.model_json_schema(by_alias=True)
    _close(settings)
    definitions = settings.pop("$defs")
    properties = {f"{PROJECT}:{key}": value for key, value in settings["properties"].items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A stack file of {PROJECT}",
        "type": "object",
        "properties": {
            "encryptionsalt": {"type": "string"},
            "secretsprovider": {"type": "string"},
            "encryptedkey": {"type": "string"},
            "environment": {},
            "config": {
                "type": "object",
                "properties": properties,
                "required": [f"{PROJECT}:{key}" for key in settings["required"]],
                "patternProperties": {f"^(?!{PROJECT}:)": {}},
                "additionalProperties": False,
            },
        },
        "required": ["config"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _close(schema: Any) -> None:
    """Refuse names that no pattern allows: pydantic does so, and leaves it out of the schema."""
    if isinstance(schema, dict):
        found = cast("dict[str, Any]", schema)
        if "patternProperties" in found:
            found.setdefault("additionalProperties", False)
        for inside in found.values():
            _close(inside)
    elif isinstance(schema, list):
        for item in cast("list[Any]", schema):
            _close(item)


def schema_text() -> str:
    """The file's exact text."""
    return json.dumps(stack_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write the schema, or with `--check` say whether it is up to date (exit 1 when it isn't)."""
    if arguments == ["--check"]:
        if not FILE.exists() or FILE.read_text(encoding="utf-8") != schema_text():
            print(f"{FILE} is out of date; run `make schema`", file=sys.stderr)
            return 1
        return 0
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(schema_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
