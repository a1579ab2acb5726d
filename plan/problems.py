"""What is wrong with a stack file, said so that its reader can mend it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that stops a plan.

    `key` is the stack file's key (dotted, without the project's namespace), `wrong` says what is
    wrong with it, `right` names a value or an act that would be right.
    """

    key: str
    wrong: str
    right: str

    def __str__(self) -> str:
        return f"{self.key}: {self.wrong}; {self.right}"


@dataclass(frozen=True, slots=True, order=True)
class Notice:
    """One thing that a reader should know and that stops nothing."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


class InvalidStackError(Exception):
    """A stack file that can't become a plan: every problem, not only the first."""

    def __init__(self, stack: str, problems: Iterable[Problem], appendix: str = "") -> None:
        self.stack = stack
        self.problems = tuple(sorted(set(problems)))
        self.appendix = appendix
        count = len(self.problems)
        lines = [f"Pulumi.{stack}.yaml has {count} problem{'s' if count != 1 else ''}; nothing was touched:"]
        lines += [f"  - {problem}" for problem in self.problems]
        if appendix:
            lines += ["", appendix]
        super().__init__("\n".join(lines))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when none is near."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def suggest(name: str, known: Iterable[str]) -> str:
    """The `right` half of a problem about a misspelt name."""
    options = sorted(known)
    near = nearest(name, options)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"known here: {', '.join(options)}" if options else "none is known here"


_SHOWN = 60


def shown(value: Any) -> str:
    """A value as its reader wrote it, with YAML's words for what Python calls None and True; not more than a glance."""
    text = _as_written(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _as_written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return "{" + ", ".join(f"{_as_written(key)}: {_as_written(one)}" for key, one in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_as_written(one) for one in cast("list[Any]", value)) + "]"
    return repr(value)
