"""What somebody else runs and this environment works with: whether it answers; never touched (D20, D8)."""

from __future__ import annotations

import socket
import threading
import time
from typing import Dict, List, Mapping

from hostctl import ports
from hostctl.console import say
from hostctl.errors import HostctlError
from hostctl.forms import Integration

SECONDS = 2.0
REACHABLE = "reachable"
_LOOPBACK = "127.0.0.1"


def check(integrations: Mapping[str, Integration], seconds: float = SECONDS) -> Dict[str, str]:
    """`reachable`, or `missing: port 8206: connection refused`, by name; done in `seconds`, all asked at once."""
    late = "no answer within %g s" % seconds
    answers = {(name, port): late for name, one in integrations.items() for port in one["ports"]}

    def ask(name: str, port: int) -> None:
        answers[name, port] = _knock(integrations[name]["host"], port, seconds)

    # Daemons: looking up a name has no time limit, and must not hold up the end.
    threads = [threading.Thread(target=ask, args=key, daemon=True) for key in answers]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    found: Dict[str, str] = {}
    for name, one in integrations.items():
        troubles = ["port %d: %s" % (port, answers[name, port]) for port in one["ports"] if answers[name, port]]
        found[name] = "missing: " + ", ".join(troubles) if troubles else REACHABLE
    return found


def require(integrations: Mapping[str, Integration]) -> Dict[str, str]:
    """The same for a host that is to be converged: ends it where one is missing that the stack insists on."""
    found = check(integrations)
    refused: List[str] = []
    for name, label in sorted(found.items()):
        if label == REACHABLE:
            continue
        where = "existing.%s: %s on %s is %s" % (name, name, integrations[name]["host"], label)
        if integrations[name]["when_missing"] == "fail":
            refused.append(where)
        else:
            say("notice: " + where)
    if refused:
        cure = "start what is missing, set its host and ports right, or write `when_missing: notice` there"
        raise HostctlError("%s; nothing was touched: %s" % ("; ".join(refused), cure))
    return found


def insisted(integrations: Mapping[str, Integration], found: Mapping[str, str]) -> str:
    """Which of those that the stack insists on doesn't answer, by what `check` found; "" when all do."""
    gone = [name for name, label in sorted(found.items()) if label != REACHABLE]
    gone = [name for name in gone if integrations[name]["when_missing"] == "fail"]
    return "%s does not answer" % ", ".join(gone) if gone else ""


def _knock(host: str, port: int, seconds: float) -> str:
    """Why nothing answers there; empty when something does."""
    trouble = _connect(host, port, seconds)
    if trouble and host == _LOOPBACK:
        # On this machine it may listen on another address alone, as Consul's own protocols do.
        for listener in ports.listeners([port]):
            if not _connect(listener.address, port, seconds):
                return ""
    return trouble


def _connect(host: str, port: int, seconds: float) -> str:
    try:
        socket.create_connection((host, port), seconds).close()
    except socket.gaierror:
        return "unknown host name"
    except socket.timeout:
        return "no answer within %g s" % seconds
    except OSError as error:
        return (error.strerror or "no connection").lower()
    return ""
