"""The three real stack files as raw values, and changes of them: what most tests of the plan start from."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from plan.load import load_plan
from plan.models import EnvironmentPlan
from plan.problems import InvalidStackError

ROOT = Path(__file__).resolve().parents[2]
STACKS = ("local", "tencent", "alibaba")
PREFIX = "blockchain-dao:"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
"""A server's public key that nobody has the other half of."""

Raw = dict[str, Any]
Change = Callable[[Raw], None]

_FILES: dict[str, dict[str, Any]] = {}


def stack_file(stack: str) -> dict[str, Any]:
    """A stack file as YAML reads it, namespaces and all."""
    if stack not in _FILES:
        _FILES[stack] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
    return copy.deepcopy(_FILES[stack])


def raw_stack(stack: str) -> Raw:
    """A stack file's keys without the namespace, free to be changed."""
    return {key.removeprefix(PREFIX): value for key, value in stack_file(stack)["config"].items()}


def put(path: str, value: Any) -> Change:
    """A change that sets what is at `path`, making the maps that lead there."""

    def change(raw: Raw) -> None:
        *parents, last = path.split(".")
        here: Any = raw
        for name in parents:
            here = here.setdefault(name, {})
        here[last] = value

    return change


def drop(path: str) -> Change:
    """A change that takes out what is at `path`."""

    def change(raw: Raw) -> None:
        *parents, last = path.split(".")
        here: Any = raw
        for name in parents:
            here = here[name]
        del here[last]

    return change


RECREATE: dict[str, list[Change]] = {
    "local": [],
    "tencent": [put("updates", "recreate")],
    "alibaba": [put("updates", "recreate")],
}
"""The stacks with their services' own ports, where a runtime knows an edge."""
PINNED = put("host.host_key", HOST_KEY)
"""What `up` wants of a server."""


def changed(stack: str, *changes: Change) -> Raw:
    """A real stack file with the changes applied."""
    raw = raw_stack(stack)
    for change in changes:
        change(raw)
    return raw


def plan_of(stack: str, *changes: Change) -> EnvironmentPlan:
    """The checked plan of a stack file with the changes applied."""
    return load_plan(stack, changed(stack, *changes))


def refusal(stack: str, raw: Mapping[str, Any]) -> InvalidStackError:
    """The error that a bad stack file ends in."""
    try:
        load_plan(stack, raw)
    except InvalidStackError as error:
        return error
    raise AssertionError(f"{stack} was accepted")


def problems_of(stack: str, *changes: Change) -> list[str]:
    """Every problem of a stack file with the changes applied, as its reader sees them."""
    return [str(problem) for problem in refusal(stack, changed(stack, *changes)).problems]


def notices_of(stack: str, *changes: Change) -> list[str]:
    """Every notice of a stack file with the changes applied."""
    return [str(notice) for notice in plan_of(stack, *changes).notices]


def as_pulumi_hands_it(raw: Mapping[str, Any]) -> dict[str, str]:
    """Pulumi's engine hands every value over as text: scalars bare, structures as JSON."""

    def text(value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, dict | list):
            return json.dumps(value, ensure_ascii=False)
        return json.dumps(value)

    return {key: text(value) for key, value in raw.items()}


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside `value`, maps and lists included; its own first."""
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inside:
        yield from paths_in(one, (*path, name))


def put_at(raw: Raw, path: tuple[Any, ...], value: Any) -> None:
    """Set what is at a path of `paths_in`."""
    here: Any = raw
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
