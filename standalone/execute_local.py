"""Runs a command on this machine, in a process group of its own (a terminal's Ctrl-C reaches only us)."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from standalone.control import Control
from standalone.errors import CommandFailed, Killed
from standalone.jobs import Job, OnLine, Output

TAIL_LINES = 12
# A daemon that the command left behind may hold its pipes for ever; once the command is over, we wait this long.
PIPE_GRACE_SECONDS = 2.0


def failure(how: str, stdout: str, stderr: str) -> str:
    """The text of a failed command: how it ended, and the end of what it printed; never the command's own text."""
    lines = (stderr.rstrip("\n") or stdout.rstrip("\n")).splitlines()
    return "\n".join([how, *lines[-TAIL_LINES:]])


def ending(code: int) -> str:
    """An exit status in words."""
    if code < 0:
        with suppress(ValueError):
            return f"ended by {signal.Signals(-code).name}"
        return f"ended by signal {-code}"
    return f"exit status {code}"


def run_local(work: Job, control: Control, on_line: OnLine) -> Output:
    """Run it and wait. Raises CommandFailed when it can't start or doesn't exit with 0."""
    try:
        process = subprocess.Popen(
            [*work.interpreter, work.command],
            stdin=subprocess.PIPE if work.stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=work.directory,
            env={**_surroundings(), **(work.environment or {})},
            start_new_session=True,
        )
    except OSError as bad:
        raise CommandFailed(f"can't start {work.interpreter[0]}: {bad.strerror}: {bad.filename}") from None

    def kill() -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    out, err = _Reader(process.stdout, "stdout", on_line), _Reader(process.stderr, "stderr", on_line)
    with control.under_way(kill):
        _feed(process, work.stdin)
        code = process.wait()
    deadline = time.monotonic() + PIPE_GRACE_SECONDS
    out.finish(deadline)
    err.finish(deadline)
    if code != 0:
        text = failure(ending(code), out.text, err.text)
        raise Killed(text) if control.killing.is_set() else CommandFailed(text)
    return Output(out.text.removesuffix("\n"), err.text.removesuffix("\n"))


def _surroundings() -> dict[str, str]:
    # The program's configuration (with opened secrets) and the passphrase are no business of a command.
    return {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_CONFIG")}


def _feed(process: subprocess.Popen[bytes], stdin: str | None) -> None:
    if process.stdin is None:
        return
    with suppress(BrokenPipeError):  # it didn't want to read all of it
        process.stdin.write((stdin or "").encode())
    with suppress(BrokenPipeError):
        process.stdin.close()


class _Reader:
    """Collects one stream on a thread of its own, and tells its lines as they come."""

    def __init__(self, stream: IO[bytes] | None, name: str, on_line: OnLine) -> None:
        self._parts: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(stream, name, on_line), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes] | None, name: str, on_line: Callable[[str, str], None]) -> None:
        for raw in stream or ():
            line = raw.decode(errors="replace")
            self._parts.append(line)
            on_line(name, line.rstrip("\n"))

    def finish(self, deadline: float) -> None:
        """Wait for the end of the stream, but not for a daemon that keeps it open."""
        self._thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def text(self) -> str:
        """What came so far."""
        return "".join(list(self._parts))
