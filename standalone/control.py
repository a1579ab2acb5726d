"""Stopping: the first Ctrl-C starts nothing new and lets work in flight finish, the second ends that work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Control:
    """What a run was asked to do, and how to end what it has under way."""

    def __init__(self) -> None:
        self.stopping = threading.Event()  # start nothing new
        self.killing = threading.Event()  # end what is under way
        self._lock = threading.Lock()
        self._killers: dict[int, Callable[[], None]] = {}
        self._next = 0

    def interrupt(self) -> str:
        """One more Ctrl-C. Returns what will happen now."""
        if not self.stopping.is_set():
            self.stopping.set()
            return "stopping: nothing new is started, what is under way finishes; Ctrl-C again ends it at once"
        if self.killing.is_set():
            os._exit(130)  # the third time; the state on disk is right at any moment
        self.killing.set()
        with self._lock:
            killers = list(self._killers.values())
        for kill in killers:
            kill()
        return "ending what is under way; the next run will do it again"

    @contextmanager
    def under_way(self, kill: Callable[[], None]) -> Generator[None]:
        """Register how to end a piece of work while it lasts."""
        with self._lock:
            self._next += 1
            key = self._next
            self._killers[key] = kill
        if self.killing.is_set():
            kill()
        try:
            yield
        finally:
            with self._lock:
                self._killers.pop(key, None)
