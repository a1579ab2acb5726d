"""Raw values -> settings, with all that can't be read named at once.

A value that can't be read is taken out (or a neutral one put in its place) and the rest is judged
without it, so that one typing error doesn't hide a port that is taken twice.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from plan.catalog import CONSUL
from plan.models import ADMIN_SECRET, SSHD
from plan.problems import Problem, shown, suggest
from plan.settings import Settings

Path = tuple[str, ...]

_ROUNDS = 10
"""How often what can't be read is taken out; each round takes out all that pydantic sees at once."""

_HOST: dict[str, Any] = {"address": "this-host", "cpus": 1024, "memory": "1024TB", "disk": "1024TB"}
_NEUTRAL: dict[Path, Any] = {
    ("mode",): "development",
    ("chains",): ["simulation"],
    ("range",): "1-65535",
    ("monthly_cost_yuan",): 0,
    ("services",): {},
    ("host",): _HOST,
    **{("host", key): value for key, value in _HOST.items()},
}
"""What a required key says while the rest is judged without it: nothing that could be a problem."""

_AMOUNTS = ("cpus", "memory", "disk")
_ENTRIES = {("services", 2), ("databases", 2), ("editions", 2), ("editions", 4)}
"""Where in the file, and how deep, the names are that others refer to."""

_SSHD = f" by {SSHD}"

_WRONG = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a map of names to values",
    "model_type": "a map of names to values",
    "model_attributes_type": "a map of names to values",
    "tuple_type": "a list, for example [a, b]",
}


@dataclass
class Reading:
    """What could be read of a stack file, and what couldn't."""

    settings: Settings | None = None
    problems: list[Problem] = field(default_factory=list[Problem])
    lost: list[Path] = field(default_factory=list[Path])
    """Keys whose values are not the file's: taken out, or neutral."""

    def can_judge(self, problem: Problem) -> bool:
        """Whether a problem of the rest isn't only an echo of what was lost."""
        return not any(_echoes(problem, path) for path in self.lost)


def _echoes(problem: Problem, path: Path) -> bool:
    """Whether a problem is at `path`, or may say only that what was there is gone."""
    place, said = tuple(problem.key.split(".")), problem.wrong
    if place[: len(path)] == path:
        return True
    if (path[0], len(path)) in _ENTRIES and f"{path[-1]!r}" in said:
        return True  # what is missed was taken out
    if place[0] == "host" and ("defaults" in path or path[-1] in _AMOUNTS):
        return True  # a sum with amounts in it that nobody wrote
    match path:
        case ("host",) | ("host", "address"):
            # Whether it is a server nobody knows.
            return place[0] == "runtime" or place == ("host", "root") or place[-1] == "when_missing" or _SSHD in said
        case ("runtime",):
            return "runtime " in said or place[-1] == "folder" or _about_the_edge(place, said)
        case ("updates",):
            return _about_the_edge(place, said)
        case ("edge",) | ("edge", "certificates") | ("services", _, "public"):
            return place[-1] == "tls"
        case ("edge", "memory" | "max_connections"):
            return place in (("edge", "memory"), ("edge", "max_connections"))
        case ("range",):
            return place == ("edge", "port")
        case ("images", *_):
            return place in (("images", "login"), ("secrets", "registry")) or place[-1] == "image_from"
        case (*_, "image"):
            return place == (*path[:-1], "image_from")
        case ("services", _, "command", *_):
            return place[:2] == path[:2] and place[-1] in ("folder", "reload", "debug_port")
        case ("editions",):
            return place[0] == "edition"
        case _:
            return _echoes_of_what_is_opened(place, said, path)


def _about_the_edge(place: Path, said: str) -> bool:
    """Whether a problem may only be there because nobody knows whether there is an edge, which takes memory too."""
    told = place[0] in ("edge", "updates") or place[-1] == "tls" or "the edge" in said
    return told or (place[0] == "host" and place[-1] in _AMOUNTS)


def _echoes_of_what_is_opened(place: tuple[str, ...], said: str, path: Path) -> bool:
    """The same for chains, databases, and the secrets that open them."""
    match path:
        case ("chains", *_):
            return place[0] in ("chain_settings", "secrets")
        case ("chain_settings", *_):
            return "no settings" in said
        case ("databases",):
            return place[-1] == "databases" or place[0] == "secrets"
        case ("databases", name, *_):
            return place in (("secrets", name), ("secrets", f"{name}{ADMIN_SECRET}")) or place[:2] == path[:2]
        case ("secrets", *name):
            # What lacks a secret may only lack the one that can't be read.
            whose = "".join(name).removesuffix(ADMIN_SECRET)
            return place[0] == "databases" and place[-1] == "admin" and whose in ("", place[1])
        case ("existing", *_):
            return place == ("secrets", CONSUL)
        case _:
            return False


def read_settings(values: dict[str, Any]) -> Reading:
    """The settings of `values` (which it may change), with a problem for each that can't be read."""
    reading = Reading()
    for _ in range(_ROUNDS):
        try:
            reading.settings = Settings.model_validate(values)
        except ValidationError as error:
            # What is inside goes before what holds it, and a list's last before its first, so that taking
            # one out doesn't move those still to come.
            found = sorted(error.errors(), key=lambda details: _order(details["loc"]), reverse=True)
        else:
            return reading
        for details in found:
            path = tuple(str(part) for part in details["loc"])
            # pydantic's mark of a map's key, where no key of that name is unknown itself.
            path = path[:-1] if path[-1] == "[key]" and details["type"] != "extra_forbidden" else path
            if path not in reading.lost:
                reading.problems.append(_problem(path, details))
            _lose(values, path, reading)
    return reading


def _order(location: tuple[int | str, ...]) -> list[tuple[int, str]]:
    return [(part, "") if isinstance(part, int) else (-1, part) for part in location]


def _lose(values: dict[str, Any], path: Path, reading: Reading) -> None:
    """Make `values` readable without what is at `path`; what is gone already stays gone."""
    reading.lost.append(path)
    holder = _at(values, path[:-1])
    if isinstance(holder, list):
        items = cast("list[Any]", holder)
        if int(path[-1]) < len(items):
            del items[int(path[-1])]
        if not items:  # an empty list is another thing than the one that was meant
            _lose(values, path[:-1], reading)
    elif isinstance(holder, dict):
        if path in _NEUTRAL:
            holder[path[-1]] = copy.deepcopy(_NEUTRAL[path])
        elif path[-1] in holder:
            del holder[path[-1]]
        elif len(path) > 1:
            # It is missing: what lacks it goes.
            _lose(values, path[:-1], reading)


def _at(values: Any, path: Sequence[str]) -> Any:
    here = values
    for part in path:
        if isinstance(here, list):
            items = cast("list[Any]", here)
            here = items[int(part)] if int(part) < len(items) else None
        elif isinstance(here, dict):
            here = cast("dict[str, Any]", here).get(part)
        else:
            return None
    return here


def _problem(path: Path, details: ErrorDetails) -> Problem:
    # A key is the file's own text: what would break a line of the list is escaped.
    key = ".".join(part if part.isprintable() else repr(part) for part in path)
    kind, value = details["type"], details.get("input")
    if path == ("secrets",):
        # What stands there in place of names may be a password: it isn't shown (D6).
        return Problem(key, "is not a map of names to secrets", "write one secret a name: secrets.NAME")
    context = details.get("ctx", {})
    if kind == "refused":
        return Problem(key, str(context["wrong"]), str(context["right"]))
    if kind == "missing":
        return Problem(key, "is missing", _purpose(path))
    if kind == "extra_forbidden":
        return Problem(key, "is not a known key", suggest(path[-1], _known_keys(path[:-1])))
    if kind == "literal_error":
        return Problem(key, f"{shown(value)} is not known", _suggest_literal(value, str(context["expected"])))
    if kind == "string_pattern_mismatch":
        return Problem(key, f"{shown(value)} has characters that can't be there", _pattern(str(context["pattern"])))
    if kind == "too_short":
        return Problem(key, "is empty", "list at least one")
    if kind == "string_type" and isinstance(value, int | float):
        return Problem(key, f"{shown(value)} is not text", "put it in quotes")
    if kind in _WRONG:
        return Problem(key, f"{shown(value)} is not {_WRONG[kind]}", f"write {_WRONG[kind]}")
    return Problem(key, f"{shown(value)} can't be", details["msg"][:1].lower() + details["msg"][1:])


def _pattern(pattern: str) -> str:
    if "A-Za-z_" in pattern:
        return "use letters, digits and underscores, for example LOG_LEVEL"
    if "[a-z]" in pattern:
        return "use lower-case letters, digits and hyphens, for example identity-service"
    return "write one line of text"


def _suggest_literal(value: Any, expected: str) -> str:
    options = [part.strip("' ") for part in expected.replace(" or ", ", ").split(",")]
    return suggest(str(value), [option for option in options if option])


def _model_at(path: Path) -> type[BaseModel] | None:
    """The settings model that the keys of `path` lead to."""
    model: Any = Settings
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            known = model.model_fields.get(part)
            model = known.annotation if known else None
        else:
            arguments = get_args(model)
            model = arguments[-1] if len(arguments) > 1 else None
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _known_keys(path: Path) -> list[str]:
    model = _model_at(path)
    return list(model.model_fields) if model else []


def _purpose(path: Path) -> str:
    model = _model_at(path[:-1])
    known = model.model_fields.get(path[-1]) if model else None
    return f"add {path[-1]}: {known.description if known else path[-1]}"
