"""What a runtime has to be able to do; the transaction, recovery, observing and status know only this.

`process` (supervisord) is the runtime of laptops, `compose` that of servers. Another one is another class with
these methods and a line in `_RUNTIMES`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Protocol, Sequence

from hostctl.errors import BadInput
from hostctl.forms import HostDefinition, ServiceDefinition
from hostctl.layout import Layout
from hostctl.lock import HostLock

STARTED, RESTARTED, UNCHANGED, FAILED = "started", "restarted", "unchanged", "failed"
OTHER_SETTINGS, OLDER_SECRETS = "it runs with other settings", "it runs with older secrets"


class Process(NamedTuple):
    """One service as the runtime sees it."""

    state: str  # running, starting, stopped, failed
    pid: int
    detail: str
    age: float = math.inf
    """Seconds since it began, where the runtime knows."""


class Target(NamedTuple):
    """A program to converge, how long its old and new form may take to stop, and a service's settings."""

    name: str
    grace_seconds: float
    digest: str = ""
    undone: bool = False
    """Of one that is unwanted: whether what had to make way for it runs again (D18); a plain removal leaves that be."""
    back: bool = False
    """On the way back to what served: nobody may stop it any more, or what did not prove itself would serve."""


class Outcome(NamedTuple):
    """What converging did to one service."""

    what: str
    detail: str = ""
    log: Sequence[str] = ()
    """The last lines of a container that failed and is gone already."""


class Runtime(Protocol):
    """Keeps a host's services running."""

    def host_problems(self, definition: HostDefinition) -> List[str]:
        """What is wrong with a host's definition, before anything is touched."""
        ...

    def host_programs(self, definition: HostDefinition) -> List[str]:
        """Programs of the host's own that run beside the services (the reload on a code change)."""
        ...

    def service_problems(self, definition: ServiceDefinition) -> List[str]:
        """What is wrong with a service's definition, before anything is touched."""
        ...

    def files_problem(self, texts: Mapping[str, str]) -> Optional[str]:
        """Why the runtime would not read these files, or None."""
        ...

    def host_differs(self, host: HostDefinition) -> str:
        """How the machine differs from what `start` left ("" when it doesn't)."""
        ...

    def start(self, host: HostDefinition, renew: bool = False) -> List[str]:
        """Makes the runtime itself run; says what it did.

        `renew` allows to restart one that runs with other settings of the host than these.
        """
        ...

    def converge(
        self, wanted: Sequence[Target], unwanted: Sequence[Target], host: HostDefinition
    ) -> Dict[str, Outcome]:
        """Makes these services, and no others, run (or be gone) as the files in place say.

        Raises RuntimeRefused when it won't read the files; nothing has changed then.
        """
        ...

    def rolls(self, definition: ServiceDefinition) -> bool:
        """Whether bringing it up takes its time under the lock: the new one proves itself beside the old one."""
        ...

    def restart(self, targets: Sequence[Target]) -> Dict[str, Outcome]:
        """Stops and starts these services as they are."""
        ...

    def stop_everything(self) -> None:
        """Ends all services and the runtime itself."""
        ...

    def processes(self) -> Optional[Dict[str, Process]]:
        """All services that the runtime knows; None when the runtime itself isn't running."""
        ...

    def process(self, name: str) -> Optional[Process]:
        """One service; None when the runtime doesn't know it, or isn't running itself."""
        ...

    def strangers(self, wanted: Mapping[str, ServiceDefinition], leaving: Sequence[str]) -> Dict[str, List[str]]:
        """Sentences, by service, about who holds a port that one of these services wants (P6).

        What the services themselves hold, and those that leave, will be free by then.
        """
        ...

    def own_data(self, definition: ServiceDefinition, folder: Path) -> None:
        """Lets the service write into its folder."""
        ...

    def differs(self, name: str, digest: str, process: Process) -> str:
        """How a running service differs from how it was started last by us ("" when it doesn't)."""
        ...

    def misnamed(self, name: str) -> str:
        """How a running service lacks the name by which people know it on the host ("" when it doesn't).

        The next convergence gives it, and restarts nothing for it.
        """
        ...

    def leftover(self, name: str) -> str:
        """What an update that was killed has left of a service beside what runs ("" when nothing is left).

        The next convergence takes it away, and restarts nothing for it.
        """
        ...

    def log_mark(self, name: str) -> List[int]:
        """Where the service's log ends now."""
        ...

    def log_tail(self, name: str, lines: int, mark: Optional[List[int]] = None) -> List[str]:
        """The last lines of the service's log, with a mark only those after it."""
        ...


Stopped = Callable[[], bool]


def _process(layout: Layout, lock: Optional[HostLock], stopped: Stopped) -> Runtime:
    from hostctl.process_runtime import ProcessRuntime

    return ProcessRuntime(layout)


def _compose(layout: Layout, lock: Optional[HostLock], stopped: Stopped) -> Runtime:
    from hostctl.compose_runtime import ComposeRuntime

    return ComposeRuntime(layout, lock, stopped=stopped)


_RUNTIMES: Dict[str, Callable[[Layout, Optional[HostLock], Stopped], Runtime]] = {
    "process": _process,
    "compose": _compose,
}


def runtime_for(
    name: str, layout: Layout, lock: Optional[HostLock] = None, stopped: Stopped = lambda: False
) -> Runtime:
    """The runtime of that name; programs that it runs while `lock` is held keep it held.

    Once `stopped`, it gives up what may be given up without loss.
    """
    if name not in _RUNTIMES:
        known = ", ".join(sorted(_RUNTIMES))
        raise BadInput("this hostctl has no runtime '%s'; it has: %s" % (name, known))
    return _RUNTIMES[name](layout, lock, stopped)
