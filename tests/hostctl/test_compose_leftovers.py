"""Beside a roll: one that serves begins anew, a silent edge, and what killed runs of any verb have left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hostctl.runtime import FAILED, RESTARTED, STARTED, UNCHANGED
from tests.hostctl.rolled import MEMBER, NAME, STEPS, Rolled, killed, started


@pytest.fixture(params=[NAME, MEMBER])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rolled:
    """One of the environment's services, and one of an edition's, whose container has a documented name (E2)."""
    return started(tmp_path, monkeypatch, request.param)


# --- what the one that serves does meanwhile ---


def begins_anew(place: Rolled) -> None:
    """It crashes, and Docker starts it again: with the other port of its pair."""
    (one,) = [one for one in place.docker.there.values() if one["State"]["Status"] == "running"]
    place.docker.post(f"/containers/{one['Id']}/restart")


def test_one_that_serves_may_have_another_place_by_then(place: Rolled) -> None:
    beside = place.compose.beside

    def slow(file: str, name: str) -> str:
        place.must_serve = ""
        begins_anew(place)
        place.must_serve = name
        return beside(file, name)

    place.compose.beside = slow
    place.plan(place.new)
    digest = place.service(place.name)["digest"]
    place.health.answers_at = {("/ready", digest): lambda: _not_served(place, digest)}
    assert place.up(place.new).what == FAILED
    place.back()
    place.require_clear(place.service(place.name))


def _not_served(place: Rolled, digest: str) -> int:
    assert digest not in place.edge.socket.serves(place.name)
    return 503


def test_one_that_ends_before_its_turn_is_composes(place: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that crashes again and again can be changed: there is nothing to lose."""

    def crashes(seconds: float) -> None:
        (one,) = place.docker.there.values()
        one["State"]["Status"] = "restarting"
        place.must_serve = ""

    monkeypatch.setattr(place.edge, "calm", crashes)
    assert place.up(place.new).what == RESTARTED
    assert place.compose.runs[-1] == [place.name]


def test_a_404_of_a_moment_is_no_excuse(place: Rolled) -> None:
    place.plan(place.new)
    digest = place.service(place.name)["digest"]
    place.health.answers_at = {("/ready", digest): lambda: 404 if place.clock < 0.5 else 503}
    assert place.up(place.new).what == FAILED
    place.back()
    place.require_clear(place.service(place.name))


def test_a_silent_edge_that_may_forward_is_no_reason_to_recreate(
    place: Rolled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.edge, "silent", lambda: True)
    runs = len(place.compose.runs)
    outcome = place.up(place.new)
    assert (outcome.what, len(place.docker.there)) == (FAILED, 1)
    assert "the edge does not answer on its socket" in outcome.detail
    assert len(place.compose.runs) == runs


# --- what killed runs have left, whichever verb they had: a restart's journal says nothing ---


@pytest.mark.parametrize("at", range(1, STEPS[MEMBER] + 1))
def test_a_restart_that_was_killed_is_cleared_up_by_anybodys_up(place: Rolled, at: int) -> None:
    place.kill_at = at
    killed(lambda: place.runtime.restart([place.target(place.name)]))
    place.kill_at, place.edge.stale = -1, False
    other = "blockchain-audit"
    place.edge.socket.behind[other] = (1, 2)
    assert place.runtime.converge([place.target(other)], [], place.host)[other].what == STARTED
    ours = [one for one in place.docker.there.values() if place.name in one["Name"]]
    assert len(ours) == 1
    assert not place.edge.socket.closed()
    begins_anew_alone(place, ours[0]["Id"])


def begins_anew_alone(place: Rolled, container: str) -> None:
    """Whichever place it has then, it serves there."""
    place.must_serve = ""
    place.docker.post(f"/containers/{container}/restart")
    assert place.edge.socket.serves(place.name)


def test_the_one_that_is_ending_does_not_go_on(place: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while the old one is being stopped, and then back to the old one's settings at once."""
    old = place.service(place.name)["digest"]
    post = place.docker.post

    def told_to_stop(path: str, *words: Any, **more: Any) -> Any:
        if path.endswith("/stop"):
            place.edge.socket.unhealthy.add(old)
            raise KeyboardInterrupt
        return post(path, *words, **more)

    monkeypatch.setattr(place.docker, "post", told_to_stop)
    assert killed(lambda: place.up(place.new))
    monkeypatch.setattr(place.docker, "post", post)
    for forgotten in (False, True):  # the edge may have begun anew, and know of no closed place
        if forgotten:
            place.edge.socket.restarts()
        place.runtime.load_edge()
        assert place.edge.socket.serves(place.name)


def test_an_old_one_that_can_not_be_stopped_is_no_reason_to_go_back(
    place: Rolled, capsys: pytest.CaptureFixture[str]
) -> None:
    place.docker.refuses.add(f"stop {next(iter(place.docker.there.values()))['Name'][1:]}")
    assert place.up(place.new).what == RESTARTED
    assert "the old container is left for the next run" in capsys.readouterr().err
    place.docker.refuses.clear()
    assert place.up(place.new).what == UNCHANGED
    place.require_clear(place.service(place.name))


def test_one_that_can_not_be_taken_away_is_nobody_elses_reason(place: Rolled) -> None:
    other = "blockchain-audit"
    place.edge.socket.behind[other] = (1, 2)
    place.kill_at = 4
    assert killed(lambda: place.up(place.new))
    place.kill_at = -1
    place.docker.refuses |= {f"remove {one['Name'][1:]}" for one in place.docker.there.values()}
    outcomes = place.runtime.converge([place.target(other), place.target(place.name)], [], place.host)
    assert (outcomes[other].what, outcomes[place.name].what) == (STARTED, FAILED)


def test_the_way_back_of_secrets_is_not_given_up(place: Rolled) -> None:
    place.stopped = True
    target = place.target(place.name)
    assert place.runtime.restart([target])[place.name].what == FAILED
    assert place.runtime.restart([target._replace(back=True)])[place.name].what == RESTARTED
