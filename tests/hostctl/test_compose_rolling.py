"""A rolling update, step by step: somebody serves at every moment, whatever fails and whenever the run is killed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import pytest

from hostctl import compose_ports, compose_rolling, health, ports
from hostctl.edge import EDGE
from hostctl.forms import ServiceDefinition
from hostctl.generations import ROLLING_BACK, Store
from hostctl.identity import myself
from hostctl.runtime import FAILED, RESTARTED, STARTED, UNCHANGED, Outcome
from tests.hostctl.compose_place import Place
from tests.hostctl.fake_edge import FakeEdge, FakeHealth
from tests.plan.stacks import put

NAME, MEMBER = "identity-service", "dao-service-1"
NEW = {
    NAME: put(f"services.{NAME}.env", {"A": "1"}),
    MEMBER: put(f"editions.dao.services.{MEMBER}.env", {"A": "1"}),
}


class Rolled(Place):
    """A host whose services are behind an edge; `serving` is watched at every change."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, name: str = NAME) -> None:
        super().__init__(root)
        self.name, self.new = name, NEW[name]
        self.edge = FakeEdge(self.docker, self._changed)
        self.docker.watch = self._changed
        cast(Any, self.runtime)._edge = lambda: self.edge
        self.health = FakeHealth(self.docker)
        monkeypatch.setattr(health, "ask", self.health.ask)
        self.clock = 0.0
        monkeypatch.setattr(compose_rolling.time, "monotonic", lambda: self.clock)
        monkeypatch.setattr(compose_rolling.time, "sleep", self._sleep)
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
        outcome = self.runtime.converge([self.target(self.name)], [], self.host)[self.name]
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


@pytest.fixture(params=[NAME, MEMBER])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rolled:
    """One of the environment's services, and one of an edition's, whose container has a documented name (E2)."""
    return started(tmp_path, monkeypatch, request.param)


def test_the_new_one_proves_itself_before_the_old_one_goes(place: Rolled) -> None:
    (old,) = place.docker.there
    name = place.name
    called = name if name == MEMBER else "X_1"
    assert place.up(place.new).what == RESTARTED
    free, mine = ("b", "a")
    steps = [step.replace(f"blockchain-services_{name}", "X") for step in place.steps if "loads" not in step]
    assert steps == [
        f"drain {name}/{free}", "update X_2", "start X_2", f"ready {name}/{free}", "update X_2",
        f"drain {name}/{mine}", f"stop {called}", f"remove {called}", f"ready {name}/{mine}",
        *(["rename X_2"] if name == MEMBER else []),
    ]  # fmt: skip
    assert old not in place.docker.there
    place.require_clear(place.service(place.name))
    place.steps.clear()
    assert place.up(place.new).what == UNCHANGED
    assert not [step for step in place.steps if "loads" not in step]  # a second converge changes nothing


def test_it_must_be_ready_and_stay_so(place: Rolled) -> None:
    place.plan(place.new)
    definition = place.service(place.name)
    place.health.answers[definition["digest"]] = 503
    outcome = place.up(place.new)
    assert outcome.what == FAILED
    assert "not ready within 30 s" in outcome.detail
    assert "/ready answers HTTP 503" in outcome.detail
    assert outcome.log == [f"the log of blockchain-services_{place.name}_2"]
    assert place.back().what == UNCHANGED
    place.require_clear(place.service(place.name))
    assert not [step for step in place.steps if step.startswith(("stop", f"drain {place.name}/a"))]


def test_where_the_one_that_serves_is_not_ready_the_new_one_need_not_be(
    place: Rolled, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        health,
        "ask",
        lambda url, timeout: health.Answer(503 if url.endswith("/ready") else 200, f"{url} answers HTTP 503"),
    )
    assert place.up(place.new).what == RESTARTED
    place.require_clear(place.service(place.name))
    assert "what serves isn't ready either" in capsys.readouterr().err


def test_an_image_that_says_no_more_than_that_it_is_alive(place: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        health,
        "ask",
        lambda url, timeout: health.Answer(404 if url.endswith("/ready") else 200, url),
    )
    assert place.up(place.new).what == RESTARTED
    place.require_clear(place.service(place.name))


@pytest.mark.parametrize("after", ["start", "ready"])
def test_one_that_ends_is_removed_and_says_why(place: Rolled, after: str) -> None:
    def dies(what: str) -> None:
        changed(what)
        if what.startswith(after):
            for one in place.docker.there.values():
                if one["HostConfig"]["RestartPolicy"]["Name"] == "no":
                    one["State"].update(Status="exited", Running=False, ExitCode=3)

    changed = place._changed  # pyright: ignore[reportPrivateUsage]
    place.docker.watch = place.edge.socket.done = dies
    outcome = place.up(place.new)
    assert outcome.what == FAILED
    assert outcome.detail in ("its process ended: exit status 3", "the edge does not find it healthy (DOWN)")
    place.back()
    place.require_clear(place.service(place.name))


def test_one_that_the_edge_does_not_find_healthy(place: Rolled) -> None:
    place.plan(place.new)
    place.edge.socket.unhealthy.add(place.service(place.name)["digest"])
    outcome = place.up(place.new)
    assert (outcome.what, outcome.detail) == (FAILED, "the edge does not find it healthy (DOWN)")
    place.back()
    place.require_clear(place.service(place.name))


def test_compose_that_makes_none(place: Rolled) -> None:
    place.compose.broken[place.name] = "no space left on device"
    outcome = place.up(place.new)
    assert (outcome.what, outcome.detail) == (FAILED, f"ERROR: for {place.name} no space left on device")
    assert len(place.docker.there) == 1


STEPS = {NAME: 9, MEMBER: 10}


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("again", [0, 2, 4])
@pytest.mark.parametrize("at", range(1, STEPS[MEMBER] + 3))
def test_killed_at_every_step_somebody_serves_and_the_next_run_clears_up(
    place: Rolled, at: int, again: int, forward: bool
) -> None:
    """Killed once, and `again` while clearing up (0: not); then either the same change again, or back."""
    place.kill_at = at
    killed = _killed(lambda: place.up(place.new))
    assert killed or at > STEPS[place.name]
    place.steps.clear()
    place.kill_at = again or -1
    _killed(lambda: place.up(place.new) if forward else place.back())
    place.kill_at = -1
    outcome = place.up(place.new) if forward else place.back()
    assert outcome.what in (UNCHANGED, RESTARTED)
    place.require_clear(place.service(place.name))


def test_what_does_not_run_has_no_place_of_its_own(place: Rolled) -> None:
    """After a power cut Docker still shows the port of what doesn't run, and what serves may have that port now."""
    (serving,) = place.docker.there.values()
    left = copy.deepcopy(serving)
    left.update(Id="left", Name=serving["Name"].replace("_1", "_2"), Created="2")
    left["State"]["Status"] = "exited"
    left["HostConfig"]["RestartPolicy"]["Name"] = "no"
    place.docker.there["left"] = left
    place.back()
    assert [one["Id"] for one in place.docker.there.values()] == [serving["Id"]]
    assert not [step for step in place.steps if step.startswith("drain")]


def test_an_image_that_is_gone_is_never_pulled(place: Rolled) -> None:
    image = place.service(place.name)["launch"]["image"]
    del place.docker.images[image]
    outcome = place.runtime.restart([place.target(place.name)])[place.name]
    assert (outcome.what, outcome.detail) == (FAILED, f"its image {image} is not on this host")
    assert len(place.docker.there) == 1


def test_without_an_edge_that_answers_it_is_recreated(place: Rolled) -> None:
    place.edge.up = False
    place.must_serve = ""
    assert place.up(place.new).what == RESTARTED
    assert place.compose.runs[-1] == [place.name]


def test_a_configuration_that_is_not_taken_fails_before_anything_is_changed(place: Rolled) -> None:
    place.edge.trouble = "the edge did not take its new configuration: cannot bind"
    outcome = place.up(place.new)
    assert (outcome.what, outcome.detail) == (FAILED, place.edge.trouble)
    assert len(place.docker.there) == 1


def _killed(act: Any) -> bool:
    try:
        act()
    except KeyboardInterrupt:
        return True
    return False


# --- the edge itself ---


@pytest.fixture
def edged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rolled:
    """The edge's own container, beside what it forwards to."""
    place = started(tmp_path, monkeypatch, NAME)
    place.store.begin(place.service(EDGE), myself(), "r2")
    place.docker.images[place.service(EDGE)["launch"]["image"]] = {"Config": {}}
    assert place.runtime.converge([place.target(EDGE)], [], place.host)[EDGE].what == STARTED
    place.store.commit(EDGE, None)
    place.steps.clear()
    return place


def change_edge(place: Rolled) -> Outcome:
    place.plan(put("edge.memory", "40MB"))
    place.store.begin(place.service(EDGE), myself(), "r3")
    return place.runtime.converge([place.target(EDGE)], [], place.host)[EDGE]


def test_another_edge_takes_the_sockets_over_before_the_old_one_ends(edged: Rolled) -> None:
    def takes_over(what: str) -> None:
        changed(what)
        if what.startswith("start "):
            edged.edge.socket.start += 1

    changed = edged._changed  # pyright: ignore[reportPrivateUsage]
    edged.docker.watch = takes_over
    assert change_edge(edged).what == RESTARTED
    steps = [step.replace("blockchain-services_edge", "E") for step in edged.steps]
    assert steps == [
        "update E_2", "start E_2", "update E_2", "stop E_1", "remove E_1", "edge started", "edge loads",
    ]  # fmt: skip


def test_an_edge_that_does_not_take_over_goes_and_the_old_one_gets_its_socket_back(edged: Rolled) -> None:
    outcome = change_edge(edged)
    assert (outcome.what, outcome.detail) == (FAILED, "the new edge did not take over within 15 s")
    assert outcome.log == ["the log of blockchain-services_edge_2"]
    assert edged.steps[-2:] == ["remove blockchain-services_edge_2", "edge loads"]


def test_services_that_leave_the_edge_have_their_ports_first(edged: Rolled) -> None:
    edged.must_serve = ""
    edged.plan(put("updates", "recreate"), put("edge", None))
    edged.store.begin(edged.service(NAME), myself(), "r4")
    outcome = edged.runtime.converge([edged.target(NAME)], [], edged.host)[NAME]
    assert outcome.what == RESTARTED
    assert edged.compose.runs[-1] == [NAME]
    assert edged.steps[0] == "edge loads"


def test_a_process_that_holds_a_documented_port(edged: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:  # P6
    definition = {NAME: edged.service(NAME)}
    found = [ports.Listener("0.0.0.0", 8402, 4242, "root")]
    monkeypatch.setattr(compose_ports.ports, "listeners", lambda numbers: found)
    assert edged.runtime.strangers(definition, []) == {}  # the edge's own
    found[:] = [ports.Listener("172.28.84.1", 16805, 99, "root")]
    (said,) = edged.runtime.strangers(definition, [])[NAME]
    assert said.startswith("port 16805 is taken by pid 99")
