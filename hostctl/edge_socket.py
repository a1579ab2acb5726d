"""The edge's runtime interface: HAProxy's own socket, one command a connection."""

from __future__ import annotations

import csv
import io
import socket
import time
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional, Set

from hostctl.errors import HostctlError

SECONDS = 5.0
POLL_SECONDS = 0.05
READY, DRAIN = "ready", "drain"
_ALL = "BACKEND", "FRONTEND"
_FORCED_DRAIN = 0x08  # HAProxy's SRV_ADMF_FDRAIN


class EdgeSilent(HostctlError):
    """Nothing answers on the edge's socket."""


class Slot(NamedTuple):
    """One of a service's two places behind the edge."""

    status: str
    """HAProxy's word: UP, DOWN, DRAIN, MAINT, perhaps with a count behind it."""
    requests: int
    """Requests under way there."""

    @property
    def up(self) -> bool:
        """Whether it gets requests."""
        return self.status.split(" ")[0] in ("UP", "no")  # "no check"


class EdgeSocket:
    """HAProxy's socket at a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(self, command: str) -> str:
        """What it answers to a command."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SECONDS)
            try:
                connection.connect(str(self.path))
                connection.sendall(command.encode() + b"\n")
                pieces = iter(lambda: connection.recv(65536), b"")
                return b"".join(pieces).decode("utf-8", "replace")
            except OSError as error:
                reason = error.strerror or str(error) or type(error).__name__
                raise EdgeSilent("the edge doesn't answer on %s: %s" % (self.path, reason)) from None

    def worker(self) -> int:
        """The pid of the worker that answers, as the edge's container counts; 0 while none does.

        A reload that was accepted has another one.
        """
        return self._info("Pid")

    def began(self) -> int:
        """When the worker that answers began, in whole seconds of the host's clock; 0 while none does.

        A new container takes this socket over with the others, and as long as the old one runs, either answers.
        """
        return self._info("Start_time_sec")

    def _info(self, what: str) -> int:
        try:
            lines = self.ask("show info").splitlines()
        except EdgeSilent:
            return 0
        return next((int(line[len(what) + 1 :]) for line in lines if line.startswith(what + ":")), 0)

    def slots(self) -> Dict[str, Dict[str, Slot]]:
        """Service -> slot -> how it is."""
        text = self.ask("show stat").lstrip("# ")
        found: Dict[str, Dict[str, Slot]] = {}
        for row in csv.DictReader(io.StringIO(text)):
            if row["svname"] not in _ALL:
                slot = Slot(row["status"], int(row["scur"] or 0) + int(row["qcur"] or 0))
                found.setdefault(row["pxname"], {})[row["svname"]] = slot
        return found

    def slot(self, service: str, name: str) -> Optional[Slot]:
        """One of them; None when the edge has no such."""
        return self.slots().get(service, {}).get(name)

    def drained(self, service: str) -> Set[str]:
        """The slots of a service that were told to get no requests; none of one that the edge doesn't have.

        A status doesn't tell: what is down, too, is called DOWN.
        """
        return self._drained(service).get(service, set())

    def closed(self) -> Dict[str, Set[str]]:
        """Each service that has such slots, and which."""
        return self._drained()

    def _drained(self, service: str = "") -> Dict[str, Set[str]]:
        said = self.ask(("show servers state " + service).strip()).splitlines()
        header = next((line for line in said if line.startswith("# ")), None)
        found: Dict[str, Set[str]] = {}
        for line in said[said.index(header) + 1 :] if header is not None else []:
            row = dict(zip(header[2:].split(" ") if header else [], line.split(" ")))
            if line and int(row["srv_admin_state"]) & _FORCED_DRAIN:
                found.setdefault(row["be_name"], set()).add(row["srv_name"])
        return found

    def set(self, service: str, name: str, state: str) -> None:
        """Says whether a slot may get requests: `ready` or `drain` (those under way go on)."""
        said = self.ask("set server %s/%s state %s" % (service, name, state)).strip()
        if said:
            raise HostctlError("the edge, told that %s/%s is %s: %s" % (service, name, state, said))

    def empty(self, service: str, name: str) -> None:
        """A slot behind which there is nothing any more: open for the next one, and known to be down until then."""
        self.ask("set server %s/%s health down" % (service, name))
        self.set(service, name, READY)

    def wait(self, service: str, name: str, wanted: Callable[[Slot], bool], seconds: float) -> bool:
        """Waits until a slot is as wanted; False when time is up."""

        def is_so() -> bool:
            slot = self.slot(service, name)
            return slot is not None and wanted(slot)

        return until(is_so, seconds)


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Waits until something is true of the edge; False when time is up."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_SECONDS)
    return True
