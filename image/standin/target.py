"""Which database to log in to, and what was found there."""

from dataclasses import dataclass, field
from typing import Literal

Reason = Literal["missing", "refused"]


@dataclass(frozen=True, slots=True)
class Target:
    """Which database to log in to. An empty user or database means the usual one of that kind."""

    kind: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check found: `version` when it is ok; otherwise the reason and one line of detail."""

    ok: bool
    version: str = ""
    reason: Reason | None = None
    detail: str = ""
