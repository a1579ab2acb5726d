"""The host's lock: one change of shared files and of the runtime at a time, and a name for who makes it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager, suppress
from typing import Any, Callable, Dict, Iterator, Optional, cast

from hostctl.console import say, say_once
from hostctl.errors import HostctlError
from hostctl.identity import myself
from hostctl.layout import Layout

POLL_SECONDS = 0.02
FIRST_WORD_AFTER = 1.0
WORD_EVERY = 10.0
# A holder works for seconds; minutes mean that it hangs, and a person has to look at it.
GIVE_UP_AFTER = 600.0


class HostLock:
    """flock on ROOT/state/lock: the kernel frees it when its holder dies, however it dies.

    The descriptor is not inheritable, so supervisord never keeps the lock alive.
    """

    def __init__(self, layout: Layout, verb: str, subject: str = "") -> None:
        self._path = layout.lock
        self._what = (verb + " " + subject).strip()
        self._descriptor: Optional[int] = None

    @property
    def descriptor(self) -> Optional[int]:
        """The open lock while it is held: a program that inherits it keeps the lock when we are killed."""
        return self._descriptor

    def try_acquire(self) -> bool:
        """Takes the lock if it is free."""
        descriptor = os.open(str(self._path), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        holder = dict(myself(), what=self._what, since=time.time())
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        except OSError as error:  # the kernel knows who has it; the name is for people only
            say_once("%s: %s; who holds the lock is not written down" % (self._path, error.strerror))
        return True

    def release(self) -> None:
        """Gives the lock back."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        with suppress(OSError):  # whoever comes next writes another name
            os.ftruncate(descriptor, 0)
        os.close(descriptor)

    def holder(self) -> str:
        """Who has the lock and since when, for people."""
        try:
            with open(str(self._path)) as stream:
                found = cast("Dict[str, Any]", json.load(stream))
            age = max(0.0, time.time() - found["since"])
            return "pid %d (%s), for %d s" % (found["pid"], found["what"], age)
        except (OSError, ValueError, KeyError, TypeError):
            return "another run"  # it changed hands while we looked

    def turn(self) -> str:
        """Another text for each that takes the lock: whoever waits sees whether it moves on."""
        try:
            with open(str(self._path)) as stream:
                found = cast("Dict[str, Any]", json.load(stream))
            return "%s %s" % (found["pid"], found["since"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""  # it changed hands while we looked

    @contextmanager
    def held(self) -> Iterator[None]:
        """With the lock, waiting for it as long as it takes."""
        waiting = Patience(lambda: "waiting for the host's lock, held by " + self.holder(), self.turn)
        while not self.try_acquire():
            waiting.wait(POLL_SECONDS)
        try:
            yield
        finally:
            self.release()


class Patience:
    """A wait that says what it waits for: after a second, then every ten.

    It ends when for ten minutes nothing has moved on: `turn` is another text each time that something has.
    """

    def __init__(self, what: Callable[[], str], turn: Callable[[], str] = lambda: "") -> None:
        self._what, self._turn = what, turn
        self._last: str = turn()
        self._began = time.monotonic()
        self._next_word = self._began + FIRST_WORD_AFTER

    def wait(self, seconds: float) -> None:
        """Sleeps a little. Raises HostctlError when nothing has moved on for too long."""
        now = time.monotonic()
        turn = self._turn()
        if turn not in ("", self._last):
            self._last, self._began = turn, now
        if now >= self._next_word:
            say(self._what())
            self._next_word = now + WORD_EVERY
        if now - self._began > GIVE_UP_AFTER:
            raise HostctlError("gave up after %d minutes of %s" % (GIVE_UP_AFTER // 60, self._what()))
        time.sleep(seconds)
