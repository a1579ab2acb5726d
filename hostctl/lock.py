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
GIVE_UP_AFTER = 600.0
"""A holder works for seconds, or as long as one update takes; more means that it hangs: a person has to look at it."""


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
        found = self._named()
        if found is None:
            return "another run"
        return "pid %d (%s), for %d s" % (found["pid"], found["what"], max(0.0, time.time() - found["since"]))

    def holder_mark(self) -> object:
        """Something that is another one whenever the lock changes hands; None while nobody has left a name."""
        found = self._named()
        return None if found is None else (found["pid"], found["since"])

    def _named(self) -> Optional[Dict[str, Any]]:
        """What its holder wrote down; None when it changed hands while we looked."""
        try:
            with open(str(self._path)) as stream:
                found = cast("Dict[str, Any]", json.load(stream))
            return {key: found[key] for key in ("pid", "what", "since")}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def held(self) -> Iterator[None]:
        """With the lock, waiting for it as long as it takes."""
        waiting = Patience(lambda: "waiting for the host's lock, held by " + self.holder(), self.holder_mark)
        while not self.try_acquire():
            waiting.wait(POLL_SECONDS)
        try:
            yield
        finally:
            self.release()


class Patience:
    """A wait that says what it waits for: after a second, then every ten."""

    def __init__(self, what: Callable[[], str], whom: Callable[[], object]) -> None:
        """`whom` gives something that is another one as soon as somebody else is waited for."""
        self._what, self._whom = what, whom
        self._began = time.monotonic()
        self._next_word = self._began + FIRST_WORD_AFTER
        self._seen: object = whom()

    def wait(self, seconds: float) -> None:
        """Sleeps a little; gives up after ten minutes with the same one. A queue that moves may take longer."""
        now = time.monotonic()
        if now >= self._next_word or now - self._began > GIVE_UP_AFTER:
            seen = self._whom()
            if seen != self._seen:
                self._seen, self._began = seen, now
        if now >= self._next_word:
            say(self._what())
            self._next_word = now + WORD_EVERY
        if now - self._began > GIVE_UP_AFTER:
            raise HostctlError("gave up after %d minutes of %s" % (GIVE_UP_AFTER // 60, self._what()))
        time.sleep(seconds)
