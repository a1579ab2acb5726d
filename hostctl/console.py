"""Progress on stderr and the result on stdout, neither of which may break a transaction.

A cut SSH connection closes both under us (EPIPE): the transaction goes on, unheard (design: "a cut
connection doesn't stop a transaction half-way").
"""

from __future__ import annotations

import os
import sys
from typing import Any, ClassVar, Set


class _Voice:
    muted = False
    said: ClassVar[Set[str]] = set()


def secure_standard_streams() -> None:
    """Fills closed descriptors 0-2, or the next file we open would be somebody's stderr."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def say(text: str) -> None:
    """One line of progress for people."""
    if _Voice.muted:
        return
    try:
        sys.stderr.write(text.rstrip("\n") + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        _Voice.muted = True


def say_once(text: str) -> None:
    """The same, but a trouble that comes back in one run is told the first time only."""
    if text not in _Voice.said:
        _Voice.said.add(text)
        say("warning: " + text)


def answer(value: Any) -> None:
    """The verb's result: one line of JSON."""
    import json

    print_out(json.dumps(value, sort_keys=True, ensure_ascii=False) + "\n")


def print_out(text: str) -> None:
    """Text on stdout as UTF-8, whatever the locale says."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        pass  # nobody reads any more; what was done is done


def detach_broken_streams() -> None:
    """Called last: keeps the interpreter's own flush at exit from changing our exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1 if stream is sys.stdout else 2)
