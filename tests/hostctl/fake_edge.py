"""The edge in memory, over the containers of a FakeDocker: who gets requests at this moment, if anybody does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hostctl.edge_socket import DRAIN, READY, Slot
from hostctl.health import Answer
from tests.hostctl.fake_docker import FakeDocker

SLOTS = ("a", "b")


class FakeSocket:
    """The calls of `EdgeSocket` that the runtime makes; `behind` is service -> its pair of ports."""

    def __init__(self, docker: FakeDocker, done: Callable[[str], None]) -> None:
        self.docker, self.done = docker, done
        self.behind: dict[str, tuple[int, int]] = {}
        self.states: dict[tuple[str, str], str] = {}
        self.unhealthy: set[str] = set()  # digests that the edge does not find healthy
        self.pid = 7
        self.start = 1  # when the worker that answers began

    def slots(self) -> dict[str, dict[str, Slot]]:
        return {name: {slot: self._slot(name, slot) for slot in SLOTS} for name in self.behind}

    def slot(self, service: str, name: str) -> Slot | None:
        return self.slots().get(service, {}).get(name)

    def set(self, service: str, name: str, state: str) -> None:
        assert service in self.behind
        if self.states.get((service, name), READY) != state:
            self.states[service, name] = state
            self.done(f"{state} {service}/{name}")

    def empty(self, service: str, name: str) -> None:
        self.set(service, name, READY)

    def wait(self, service: str, name: str, wanted: Callable[[Slot], bool], seconds: float) -> bool:
        return wanted(self._slot(service, name))

    def drained(self, service: str) -> set[str]:
        return {slot for slot in SLOTS if self.states.get((service, slot)) == DRAIN}

    def worker(self) -> int:
        return self.pid

    def restarts(self) -> None:
        """As another container's start: its worker has the same pid there, and knows of no place that is closed."""
        self.states.clear()

    def closed(self) -> dict[str, set[str]]:
        return {service: self.drained(service) for service in self.behind if self.drained(service)}

    def began(self) -> int:
        return self.start

    def serves(self, service: str) -> list[str]:
        """The definitions that requests reach now."""
        return [
            one["Config"]["Labels"]["blockchain-dao.definition"]
            for slot in SLOTS
            if self._slot(service, slot).up
            for one in self._behind(service, slot)
        ]

    def _slot(self, service: str, slot: str) -> Slot:
        there = [
            one
            for one in self._behind(service, slot)
            if one["Config"]["Labels"]["blockchain-dao.definition"] not in self.unhealthy
        ]
        drained = self.states.get((service, slot), READY) == DRAIN
        # As HAProxy does: a closed place behind which nothing answers is called DOWN.
        return Slot("DOWN" if not there else "DRAIN" if drained else "UP", 0)

    def _behind(self, service: str, slot: str) -> list[dict[str, Any]]:
        port = self.behind[service][SLOTS.index(slot)]
        return [one for one in self.docker.there.values() if _running(one) and port in ports_of(one)]


class FakeEdge:
    """The calls of `Edge` that the runtime makes."""

    def __init__(self, docker: FakeDocker, done: Callable[[str], None]) -> None:
        self.socket = FakeSocket(docker, done)
        self.done = done
        self.trouble = ""
        self.up = True
        self.mute = False
        self.stale = True  # whether there is something to load
        self.calmed = 0.0  # how long at most a roll waits for old workers

    def running(self) -> Any:
        return object() if self.up else None

    def services(self) -> set[str]:
        return set(self.socket.behind) if self.up else set()

    def pids(self) -> set[int]:
        return {4242}

    def make_ready(self) -> None: ...

    def problem(self, text: str, block: str) -> str | None:
        return "line 3: unknown keyword" if "BROKEN" in text else None

    def await_started(self) -> str:
        self.done("edge started")
        return ""

    def loaded(self) -> bool:
        return not self.stale

    def closed(self) -> dict[str, set[str]]:
        return self.socket.closed() if self.up else {}

    def calm(self, seconds: float) -> None:
        self.calmed = seconds

    def load(self, always: bool = False) -> str:
        if not self.trouble:
            self.socket.restarts()
            self.done("edge loads")
        return self.trouble

    def silent(self) -> bool:
        return self.mute

    def differs(self) -> str:
        return ""


class FakeHealth:
    """What a container answers at its own port, by its definition: 200 unless told otherwise."""

    def __init__(self, docker: FakeDocker) -> None:
        self.docker = docker
        self.answers: dict[str, int] = {}
        self.answers_at: dict[tuple[str, str], int | Callable[[], int]] = {}  # by path and definition
        self.asked: list[str] = []

    def ask(self, url: str, timeout: float) -> Answer:
        self.asked.append(url)
        port = int(url.split(":")[2].split("/")[0])
        for one in self.docker.there.values():
            if _running(one) and port in ports_of(one):
                digest = one["Config"]["Labels"]["blockchain-dao.definition"]
                special = self.answers_at.get(("/" + url.rsplit("/", 1)[1], digest), self.answers.get(digest, 200))
                status = special() if callable(special) else special
                return Answer(status, f"{url} answers HTTP {status}")
        return Answer(0, f"{url}: Connection refused")


def ports_of(one: dict[str, Any]) -> set[int]:
    """The host's ports of a container in memory."""
    found = one.get("NetworkSettings", {}).get("Ports", {})
    return {int(each["HostPort"]) for ports in found.values() for each in ports}


def _running(one: dict[str, Any]) -> bool:
    return one["State"]["Status"] == "running"
