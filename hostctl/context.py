"""What a verb works with: one host, its state, and the signals that this run got."""

from __future__ import annotations

import os
import signal
from typing import Any, Dict, List, Optional, TypedDict, cast

from hostctl.definitions import full_database, full_host
from hostctl.errors import BadInput
from hostctl.forms import DatabaseDefinition, HostDefinition
from hostctl.generations import Store
from hostctl.identity import Identity, myself
from hostctl.layout import Layout, read_json
from hostctl.lock import HostLock
from hostctl.queue import Queue
from hostctl.runtime import Runtime, runtime_for


class HostRecord(TypedDict):
    """`state/host.json`: the host's definition, and BASE, the folder in which `host` was called."""

    base: str
    definition: HostDefinition
    generation: int
    label: str


class DatabaseRecord(TypedDict):
    """`state/databases/NAME.json`."""

    definition: DatabaseDefinition
    state: str
    detail: str
    found: str
    """What the check said when it was converged."""
    label: str
    """The label that was adopted then."""
    container: str
    """The id of the container that was adopted (D18), else empty."""


class Signals:
    """SIGINT and SIGTERM only raise a flag, which transactions look at where they can stop cleanly.

    SIGHUP and SIGPIPE are ignored: a cut connection is no reason to stop half-way.
    """

    def __init__(self) -> None:
        self.stop = False

    def install(self) -> None:
        """Takes the handlers over, for the rest of this process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._raise_flag)
        for number in (signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)

    def stopped(self) -> bool:
        """Whether somebody asked us to stop."""
        return self.stop

    def _raise_flag(self, *_: object) -> None:
        from hostctl.console import say

        if not self.stop:
            say("asked to stop: finishing or rolling back first")
        self.stop = True


class Context:
    """One run of one verb on one host."""

    def __init__(self, root: str, verb: str, subject: str = "") -> None:
        self.layout = Layout(root)
        self.store = Store(self.layout)
        self.queue = Queue(self.layout)
        self.lock = HostLock(self.layout, verb, subject)
        self.signals = Signals()
        self.me: Identity = myself()
        self.adopted: List[str] = []
        self._runtime: Optional[Runtime] = None

    def host_or_none(self) -> Optional[HostRecord]:
        """The host's record, if it was ever converged; in full, whichever hostctl wrote it."""
        found = cast("Optional[HostRecord]", read_json(self.layout.host))
        if found is not None:
            found["definition"] = full_host(cast("Dict[str, Any]", found["definition"]))
        return found

    def host(self) -> HostRecord:
        """The host's record."""
        found = self.host_or_none()
        if found is None:
            raise BadInput("nothing was converged in %s yet: run `hostctl host` first" % self.layout.root)
        return found

    @property
    def runtime(self) -> Runtime:
        """The runtime that the host's definition names."""
        if self._runtime is None:
            self._runtime = runtime_for(
                self.host()["definition"]["runtime"], self.layout, self.lock, self.signals.stopped
            )
        return self._runtime

    def databases(self) -> Dict[str, DatabaseRecord]:
        """All databases that have a record."""
        paths = sorted(self.layout.databases.glob("[a-z0-9]*.json"))
        return {path.stem: _full_record(read_json(path)) for path in paths}

    def on_host(self) -> bool:
        """Whether there is anything of ours at all."""
        return os.path.exists(str(self.layout.host))


def _full_record(record: Dict[str, Any]) -> DatabaseRecord:
    return cast(DatabaseRecord, {"container": "", **record, "definition": full_database(record["definition"])})
