"""The edge itself among what comes up: its own changes, its configuration, services that join and leave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostctl import compose_ports, compose_rolling, ports
from hostctl.edge import EDGE
from hostctl.identity import myself
from hostctl.runtime import FAILED, RESTARTED, STARTED, Outcome
from tests.hostctl.rolled import NAME, Rolled, started
from tests.plan.stacks import put


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


def test_a_configuration_that_is_not_taken_is_the_edges_failure_too(edged: Rolled) -> None:
    edged.edge.trouble = "the edge did not take its new configuration: cannot bind"
    outcome = edged.runtime.converge([edged.target(EDGE)], [], edged.host)[EDGE]
    assert (outcome.what, outcome.detail) == (FAILED, edged.edge.trouble)


def test_what_leaves_an_edge_that_does_not_let_go_is_left_alone(edged: Rolled) -> None:
    edged.plan(put("updates", "recreate"), put("edge", None))
    edged.store.begin(edged.service(NAME), myself(), "r4")
    edged.edge.trouble = "the edge does not answer on its socket"
    runs = len(edged.compose.runs)
    outcome = edged.runtime.converge([edged.target(NAME)], [], edged.host)[NAME]
    assert (outcome.what, outcome.detail) == (FAILED, edged.edge.trouble)
    assert len(edged.compose.runs) == runs  # it would have stopped what serves, and found the port taken


def test_a_roll_waits_for_workers_that_would_not_hear_of_it(edged: Rolled) -> None:
    edged.plan(put(f"services.{NAME}.env", {"A": "1"}))
    edged.store.begin(edged.service(NAME), myself(), "r4")
    assert edged.runtime.converge([edged.target(NAME)], [], edged.host)[NAME].what == RESTARTED
    assert edged.edge.calmed == edged.service(EDGE)["stop"]["grace_seconds"]


def test_an_old_one_that_was_silent_for_a_moment_does_not_take_over(
    edged: Rolled, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([0])
    monkeypatch.setattr(edged.edge.socket, "began", lambda: next(answers, 1000))
    monkeypatch.setattr(compose_rolling, "began_at", lambda one: 2000)
    (old,) = [one for one in edged.docker.there.values() if "edge" in one["Name"]]
    assert change_edge(edged).what == FAILED
    assert [one for one in edged.docker.there.values() if "edge" in one["Name"]] == [old]


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_a_second_edge_that_a_killed_run_left_is_taken_away_by_anybodys_up(edged: Rolled, at: int) -> None:
    def takes_over(what: str) -> None:
        if what.startswith("start "):
            edged.edge.socket.start += 1
        changed(what)

    changed = edged._changed  # pyright: ignore[reportPrivateUsage]
    edged.docker.watch, edged.kill_at = takes_over, at
    with pytest.raises(KeyboardInterrupt):
        edged.runtime.restart([edged.target(EDGE)])
    edged.kill_at = -1
    edged.plan(put(f"services.{NAME}.env", {"A": "1"}))
    edged.store.begin(edged.service(NAME), myself(), "r4")
    assert edged.runtime.converge([edged.target(NAME)], [], edged.host)[NAME].what == RESTARTED
    (left,) = [one for one in edged.docker.there.values() if "edge" in one["Name"]]
    assert (left["State"]["Status"], left["HostConfig"]["RestartPolicy"]["Name"]) == ("running", "always")


def test_a_port_that_docker_holds_for_no_container(
    edged: Rolled, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a loss of power: nobody can end that, and until Docker is restarted a second one has no place."""
    (one,) = [one for one in edged.docker.there.values() if NAME in one["Name"]]
    one["Ports"] = [{"PublicPort": 16804, "Type": "tcp"}]
    found = [ports.Listener("172.28.84.1", 16804, 4242, "root"), ports.Listener("172.28.84.1", 16805, 99, "root")]
    monkeypatch.setattr(
        compose_ports.ports, "listeners", lambda numbers: [each for each in found if each.port in numbers]
    )
    monkeypatch.setattr(compose_ports, "program_of", lambda pid: "/usr/sbin/docker-proxy")
    edged.plan(put(f"services.{NAME}.env", {"A": "1"}))
    edged.store.begin(edged.service(NAME), myself(), "r4")
    assert edged.runtime.strangers({NAME: edged.service(NAME)}, []) == {}
    edged.must_serve = ""
    assert edged.runtime.converge([edged.target(NAME)], [], edged.host)[NAME].what == RESTARTED
    assert edged.compose.runs[-1] == [NAME]
    assert "Docker holds port 16805 for no container" in capsys.readouterr().err
