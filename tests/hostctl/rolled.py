"""A host whose services are behind an edge, in memory: who serves is watched at every change."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from hostctl import compose_rolling, edge_socket, health
from hostctl.forms import ServiceDefinition
from hostctl.generations import ROLLING_BACK, Store
from hostctl.identity import myself
from hostctl.runtime import FAILED, STARTED, Outcome
from tests.hostctl.compose_place import Place
from tests.hostctl.fake_edge import FakeEdge, FakeHealth
from tests.plan.stacks import put

NAME, MEMBER = "identity-service", "dao-service-1"
NEW = {
    NAME: put(f"services.{NAME}.env", {"A": "1"}),
    MEMBER: put(f"editions.dao.services.{MEMBER}.env", {"A": "1"}),
}
STEPS = {NAME: 9, MEMBER: 10}
"""How many a roll has."""


class Rolled(Place):
    """A host whose services are behind an edge; `serving` is watched at every change."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, name: str = NAME) -> None:
        super().__init__(root)
        self.name, self.new = name, NEW[name]
        self.edge = FakeEdge(self.docker, self._changed)
        self.docker.watch = self._changed
        cast(Any, self.runtime).edge = lambda: self.edge
        self.health = FakeHealth(self.docker)
        monkeypatch.setattr(health, "ask", self.health.ask)
        self.clock = 0.0
        monkeypatch.setattr(compose_rolling.time, "monotonic", lambda: self.clock)
        monkeypatch.setattr(compose_rolling.time, "sleep", self._sleep)
        monkeypatch.setattr(edge_socket.time, "sleep", self._sleep)
        self.store = Store(self.layout)
        self.steps: list[str] = []
        self.kill_at = -1
        self.must_serve = ""
        behind = self.service(name)["edge"]
        assert behind is not None
        self.edge.socket.behind[name] = (behind["ports"][0], behind["ports"][1])

    def _sleep(self, seconds: float) -> None:
        self.clock += seconds

    def _changed(self, what: str) -> None:
        self.steps.append(what)
        if self.must_serve:
            assert self.edge.socket.serves(self.must_serve), f"nobody serves after {self.steps}"
        if len(self.steps) == self.kill_at:
            self.kill_at = -1
            raise KeyboardInterrupt(what)

    def up(self, *changes: Any) -> Outcome:
        """What a transaction does: journal, files, runtime, and the way back when it fails."""
        self.plan(*changes)
        definition = self.service(self.name)
        self.store.begin(definition, myself(), "r1")
        return self.apply(definition)

    def apply(self, definition: ServiceDefinition) -> Outcome:
        outcome = self.runtime.converge([self.target(self.name)], [], self.host)[self.name]
        if outcome.what != FAILED:
            self.store.commit(self.name, None)
        return outcome

    def back(self) -> Outcome:
        """What recovery does with a change that was interrupted or failed: the good one's files, and converge."""
        self.store.turn(self.name, ROLLING_BACK, myself())
        self.plan()
        target = self.target(self.name)._replace(back=True)
        outcome = self.runtime.converge([target], [], self.host)[self.name]
        self.store.abandon(self.name)
        return outcome

    def require_clear(self, definition: ServiceDefinition) -> None:
        """One container, of this definition, that Docker starts again, called as documented; both places open."""
        (one,) = self.docker.there.values()
        assert one["Config"]["Labels"]["blockchain-dao.definition"] == definition["digest"]
        assert one["State"]["Status"] == "running"
        assert one["HostConfig"]["RestartPolicy"]["Name"] == "always"
        assert set(self.edge.socket.states.values()) <= {"ready"}
        assert self.edge.socket.serves(self.name) == [definition["digest"]]
        assert one["Name"] == "/" + MEMBER if self.name == MEMBER else one["Name"].startswith("/blockchain-services_")
        assert self.runtime.misnamed(self.name) == ""


def started(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Rolled:
    """A host on which one service runs behind the edge."""
    made = Rolled(root, monkeypatch, name)
    assert made.up().what == STARTED
    made.must_serve = name
    made.steps.clear()
    return made


def killed(act: Any) -> bool:
    """Whether doing it was cut off."""
    try:
        act()
    except KeyboardInterrupt:
        return True
    return False
