"""One run at a time on a stack. The kernel drops a dead holder's lock, so a dead holder is no holder."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from standalone.errors import UserError


@contextmanager
def exclusive(state_path: Path, verb: str) -> Generator[None]:
    """Hold the stack's lock. Raises UserError at once, naming the holder, when another run has it."""
    descriptor = take(state_path, verb)
    try:
        yield
    finally:
        _note(state_path).unlink(missing_ok=True)
        os.close(descriptor)


def take(state_path: Path, verb: str) -> int:
    """Take the stack's lock for as long as the returned descriptor is open, here or in a program that inherits it.

    Raises UserError as `exclusive` does.
    """
    from filelock import lock_descriptor

    state_path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(state_path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    note = _note(state_path)
    if not lock_descriptor(descriptor, blocking=False):
        os.close(descriptor)
        raise UserError(f"another run works on this stack: {_holder(note)}; wait until it has finished")
    note.write_text(json.dumps(_me(verb)))
    return descriptor


def _note(state_path: Path) -> Path:
    return state_path.with_suffix(".holder")


def _me(verb: str) -> dict[str, object]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"pid": os.getpid(), "user": user, "host": socket.gethostname(), "since": since, "verb": verb}


def _holder(note: Path) -> str:
    try:
        who = json.loads(note.read_text())
        return f"`{who['verb']}` by {who['user']} on {who['host']}, pid {who['pid']}, since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has only just begun"  # the lock is taken a moment before the note is written
