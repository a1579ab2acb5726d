"""Requests that wait for whoever gets the lock next (group commit; design: "How a host converges").

A request is a file, `ID.json`. The leader (whoever holds the lock) renames it to `ID.taken` before it acts on it and
leaves `ID.result` when it has. A request whose owner died is dropped; a taken one without a result tells the
next leader that the last one died over it, and is done again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import List, Optional, TypedDict, cast

from hostctl.forms import ServiceDefinition
from hostctl.identity import Identity, alive
from hostctl.layout import Layout, read_json, remove, write_json


class Request(TypedDict):
    """One service to bring up (with a definition) or down (without)."""

    id: str
    name: str
    definition: Optional[ServiceDefinition]
    owner: Identity
    who: str


class Result(TypedDict):
    """What the leader did with a request; `error` says why it did nothing."""

    owner: Identity
    error: str
    generation: int
    outcome: str
    detail: str
    log_mark: List[int]
    log: List[str]
    """The last lines of what failed and is gone already."""


class Queue:
    """The folder ROOT/state/queue."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.queue

    def put(self, request: Request) -> None:
        """Lines a request up. Not durable on purpose: it does not outlive its owner."""
        write_json(self._path(request["id"], "json"), request, durable=False)

    def withdraw(self, request: Request) -> bool:
        """Takes it back; False when a leader has it already."""
        return remove(self._path(request["id"], "json"))

    def waiting(self) -> List[Request]:
        """All living requests in the order of their arrival; for the holder of the lock only."""
        self._drop_dead_results()
        found: List[Request] = []
        for path in sorted(self._folder.glob("*.json")) + sorted(self._folder.glob("*.taken")):
            request = cast("Optional[Request]", read_json(path))
            if request is None or self._path(request["id"], "result").exists():
                continue  # withdrawn this moment, or answered already
            if alive(request["owner"]):
                found.append(request)
            else:
                remove(path)
        return sorted(found, key=lambda request: request["id"])

    def take(self, request: Request) -> bool:
        """Claims it, so that it can't be withdrawn any more."""
        try:
            os.rename(str(self._path(request["id"], "json")), str(self._path(request["id"], "taken")))
        except FileNotFoundError:
            return self._path(request["id"], "taken").exists()
        return True

    def answer(self, request: Request, result: Result) -> None:
        """Leaves the result, then forgets the request (in this order: a crash between them loses nothing)."""
        write_json(self._path(request["id"], "result"), result, durable=False)
        remove(self._path(request["id"], "taken"))

    def result(self, request: Request) -> Optional[Result]:
        """The result, once."""
        path = self._path(request["id"], "result")
        found = cast("Optional[Result]", read_json(path))
        if found is not None:
            remove(path)
            # The leader died between the two steps of answer().
            remove(self._path(request["id"], "taken"))
        return found

    def length(self) -> int:
        """How many requests wait; a leader watches it grow before its first run."""
        return sum(1 for _ in self._folder.glob("*.json"))

    def _drop_dead_results(self) -> None:
        for path in self._folder.glob("*.result"):
            result = read_json(path)
            if result is not None and not alive(result["owner"]):
                remove(path)

    def _path(self, identifier: str, suffix: str) -> Path:
        return self._folder / ("%s.%s" % (identifier, suffix))


def new_id(owner: Identity) -> str:
    """Sorts by time of arrival; the pid keeps two of the same moment apart."""
    return "%020d-%d" % (time.time_ns(), owner["pid"])
