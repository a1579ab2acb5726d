"""A stack file's raw values -> a plan that was checked, or every problem at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from plan import checks
from plan.build import build_plan
from plan.catalog import EDGE_IMAGE, STAND_IN_IMAGE
from plan.checks import resources
from plan.models import EnvironmentPlan
from plan.problems import InvalidStackError, Problem, nearest
from plan.read import read_settings
from plan.semantic import SECRET

_DEPTH = 32
"""No stack file says anything as deep as this."""
_NOTHING = (None, "", "null")
"""A top key with nothing behind it, as YAML, the Pulumi CLI and standalone hand it over."""


def own_keys(project: str, raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The project's own keys out of a whole configuration, without its namespace; and those gone astray.

    Astray are keys of a namespace that is nearly the project's, and keys that are there twice (`mode` and
    `blockchain-dao:mode`): whoever reads the configuration would drop one of them without a word. The list is
    for `load_plan`, which tells it with everything else.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for full, value in raw.items():
        # Pulumi's long form, namespace:config:name, is the same key.
        *namespace, name = full.replace(":config:", ":", 1).split(":", 1)
        if namespace in ([], [project]):
            if name in values:
                twice = f"is there twice, as {name!r} with and without the project's name"
                problems.append(Problem(name, twice, f"keep {project}:{name} only"))
            if name not in values or namespace:
                values[name] = value
        elif nearest(namespace[0].casefold(), [project]) is not None:
            wrong = f"{namespace[0]!r} is not this project"
            problems.append(Problem(full, wrong, f"did you mean '{project}:{name}'?"))
    return values, problems


def load_plan(
    stack: str,
    raw: Mapping[str, Any],
    secret_keys: Collection[str] = (),
    found_before: Iterable[Problem] = (),
    stand_in_image: str = STAND_IN_IMAGE,
    edge_image: str = EDGE_IMAGE,
) -> EnvironmentPlan:
    """The checked plan of a stack file, notices included.

    `raw` maps the file's keys (without the namespace) to their values: scalars as text or as what they
    are, structures as maps and lists or as JSON text; `secret_keys` are those that the engine holds for
    secret, of which the values of `secrets` never enter the plan. A key with nothing behind it is absent.
    `found_before` are problems that the caller knows already (`own_keys`). `stand_in_image` and `edge_image` are
    the program's own on a server, where their tags tell their sources (the plan itself reads no disk).
    Raises InvalidStackError with every problem.
    """
    shown = sorted(set(secret_keys) - {"secrets"})
    if shown:
        # Nothing else is judged: what is said of a value may show it.
        right = "keep what is secret under secrets.NAME only"
        told = [Problem(key, "is secret, and previews would show it", right) for key in shown]
        raise InvalidStackError(stack, [*found_before, *told])
    values = {key: _structure(value) for key, value in raw.items() if value not in _NOTHING}
    if "secrets" in secret_keys and isinstance(values.get("secrets"), dict):
        values["secrets"] = dict.fromkeys(values["secrets"], SECRET)
    reading = read_settings(values)
    problems = [*found_before, *reading.problems]
    if reading.settings is None:
        raise InvalidStackError(stack, problems)
    plan = build_plan(stack, reading.settings, stand_in_image, edge_image)
    found = [problem for problem in checks.find_problems(plan) if reading.can_judge(problem)]
    if problems or found:
        over = any(problem.key.startswith("host.") for problem in found)
        raise InvalidStackError(stack, [*problems, *found], resources.table(plan) if over else "")
    return dataclasses.replace(plan, notices=checks.find_notices(plan))


def _structure(value: Any) -> Any:
    """Pulumi hands a structured value over as JSON text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    return _copy(value, _DEPTH)


def _copy(value: Any, depth: int) -> Any:
    """A copy to be changed, with the keys of maps as text (YAML's may be numbers), and not deeper than `depth`."""
    if not isinstance(value, dict | list):
        return value
    if not depth:
        return "(too deep)"
    if isinstance(value, dict):
        return {str(key): _copy(one, depth - 1) for key, one in cast("dict[Any, Any]", value).items()}
    return [_copy(one, depth - 1) for one in cast("list[Any]", value)]
