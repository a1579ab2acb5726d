"""A program on a terminal of its own, and somebody who types."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 30


def typed(
    command: list[str],
    answer: str | int | None,
    *,
    cwd: Path,
    env: dict[str, str],
    prompt: str,
    meanwhile: Callable[[], object] = lambda: None,
) -> tuple[int, str]:
    """Run a command on a terminal; at its prompt do something else, then type `answer`, or send that signal, or
    Ctrl-D for None.

    Returns its exit code and all that stood on the terminal.
    """
    ours, theirs = pty.openpty()
    # A test run in the background has Ctrl-C ignored, and would hand that on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    os.close(theirs)
    said, answered = b"", False
    deadline = time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.5)[0]:
                if answered and isinstance(answer, int):  # one that came just before Python began to read is not seen
                    process.send_signal(signal.Signals(answer))
                continue
            try:
                said += os.read(ours, 65536)
            except OSError:  # the other end is closed: it has ended
                break
            if not answered and prompt.encode() in said:
                answered = True
                meanwhile()
                if isinstance(answer, int):
                    process.send_signal(signal.Signals(answer))
                else:
                    os.write(ours, b"\x04" if answer is None else f"{answer}\n".encode())
        return process.wait(SECONDS), said.decode().replace("\r\n", "\n")
    finally:
        process.kill()
        os.close(ours)
