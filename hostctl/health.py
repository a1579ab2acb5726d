"""The health gate (P9): the same process, kept running by the runtime, answers `/health` with 200."""

from __future__ import annotations

import http.client
import time
from typing import Callable, NamedTuple, Optional
from urllib.parse import urlsplit

from hostctl.docker_api import DockerMissing
from hostctl.forms import Health
from hostctl.runtime import Process, Runtime

POLL_SECONDS = 0.1
# The runtime starts what it was told to within moments; a service that isn't started by then never will be.
UNSTARTED_SECONDS = 3.0
HEALTHY, UNKNOWN = 200, 404


class Verdict(NamedTuple):
    """What the gate found."""

    healthy: bool
    reason: str
    seconds: float


class Answer(NamedTuple):
    """What came of one question: its status, or 0 and why there is none."""

    status: int
    said: str


def ask(url: str, timeout: float) -> Answer:
    """Asks once, past any proxy and without following redirects."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/", headers={"User-Agent": "hostctl", "Connection": "close"})
        status = connection.getresponse().status
        return Answer(status, "%s answers HTTP %d" % (url, status))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(0, "%s: %s" % (url, getattr(error, "strerror", None) or str(error) or type(error).__name__))
    finally:
        connection.close()


def probe(url: str, timeout: float) -> str:
    """Asks once: "" is healthy, else what came instead."""
    answer = ask(url, timeout)
    return "" if answer.status == HEALTHY else answer.said


class Gate:
    """Waits for one service's health."""

    def __init__(self, runtime: Runtime, name: str, health: Health, interrupted: Callable[[], bool]) -> None:
        self._runtime = runtime
        self._name = name
        self._url = health["url"]
        self._timeout = float(health["timeout_seconds"])
        self._interrupted = interrupted
        self._pid = 0
        self._unseen = 0.0

    def wait(self, at_most: Optional[float] = None) -> Verdict:
        """Until it is healthy, has ended, or time is up."""
        began = time.monotonic()
        limit = self._timeout if at_most is None else min(at_most, self._timeout)
        answer = "it was never asked"
        while True:
            spent = time.monotonic() - began
            try:
                process = self._runtime.process(self._name)
                broken = self._broken(process, spent)
                if broken:
                    return Verdict(False, broken, spent)
                if process is not None and process.pid:
                    answer = probe(self._url, max(0.2, min(1.0, limit - spent)))
                    if not answer and process.state == "running" and self._still_the_same():
                        return Verdict(True, "", time.monotonic() - began)
            except DockerMissing as error:
                # Docker restarts, say, and every container with it: nothing is wrong with the service itself.
                answer = str(error)
                self._pid, self._unseen = 0, spent
            if self._interrupted():
                return Verdict(False, "interrupted", spent)
            if spent >= limit:
                return Verdict(False, "not healthy within %g s: %s" % (limit, answer), spent)
            # Twelve gates of one `up` ask at the same time: who starts slowly is asked less often.
            time.sleep(POLL_SECONDS * min(4.0, 1.0 + spent))

    def _broken(self, process: Optional[Process], spent: float) -> str:
        if process is None or process.state == "stopped":
            return "" if spent - self._unseen < UNSTARTED_SECONDS else "its process is not running"
        if process.state == "failed":
            return "its process ended: " + process.detail
        if self._pid and process.pid != self._pid:
            return "its process ended and was started again"
        self._pid = process.pid
        return ""

    def _still_the_same(self) -> bool:
        # The answer may have come from the process before this one, in its last moment.
        process = self._runtime.process(self._name)
        return process is not None and process.pid == self._pid and process.state == "running"
