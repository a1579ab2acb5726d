"""A command to run, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from standalone.values import Props


@dataclass
class Job:
    """One command to run, with everything it needs."""

    command: str
    stdin: str | None = None
    environment: dict[str, str] | None = None
    directory: str | None = None
    interpreter: tuple[str, ...] = ("/bin/sh", "-c")
    connection: Props | None = None
    log_stdout: bool = True
    log_stderr: bool = True


@dataclass
class Output:
    """What a command printed."""

    stdout: str
    stderr: str


OnLine = Callable[[str, str], None]  # stream ("stdout" or "stderr"), line
