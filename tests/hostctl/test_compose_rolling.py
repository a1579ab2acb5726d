"""A rolling update, step by step: somebody serves at every moment, whatever fails and whenever the run is killed."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from hostctl import health
from hostctl.errors import HostctlError
from hostctl.generations import ROLLING_BACK
from hostctl.identity import myself
from hostctl.runtime import FAILED, RESTARTED, STARTED, UNCHANGED, Outcome
from tests.hostctl.rolled import MEMBER, NAME, STEPS, Rolled, killed, started


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
        "update X_2", f"drain {name}/{free}", "start X_2", f"ready {name}/{free}", "update X_2",
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


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("again", [0, 2, 4])
@pytest.mark.parametrize("at", range(1, STEPS[MEMBER] + 3))
def test_killed_at_every_step_somebody_serves_and_the_next_run_clears_up(
    place: Rolled, at: int, again: int, forward: bool
) -> None:
    """Killed once, and `again` while clearing up (0: not); then either the same change again, or back."""
    place.kill_at = at
    was = killed(lambda: place.up(place.new))
    assert was or at > STEPS[place.name]
    place.steps.clear()
    place.kill_at = again or -1
    killed(lambda: place.up(place.new) if forward else place.back())
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


def test_where_the_one_that_serves_is_never_ready_the_new_one_need_not_be(
    place: Rolled, capsys: pytest.CaptureFixture[str]
) -> None:
    place.plan()
    before = place.service(place.name)["digest"]
    place.plan(place.new)
    after = place.service(place.name)["digest"]
    place.health.answers_at = {("/ready", before): 503, ("/ready", after): 503}
    assert place.up(place.new).what == RESTARTED
    place.require_clear(place.service(place.name))
    assert "what serves isn't ready either" in capsys.readouterr().err


def test_an_old_one_that_was_not_ready_for_a_moment_is_no_excuse(place: Rolled) -> None:
    place.plan()
    before = place.service(place.name)["digest"]
    place.plan(place.new)
    place.health.answers_at = {
        ("/ready", before): lambda: 503 if place.clock < 5 else 200,
        ("/ready", place.service(place.name)["digest"]): 503,
    }
    outcome = place.up(place.new)
    assert outcome.what == FAILED
    assert "/ready answers HTTP 503" in outcome.detail
    place.back()
    place.require_clear(place.service(place.name))


def test_on_the_way_back_nobody_may_stop_it(place: Rolled) -> None:
    """Ctrl-C after a roll, while its health is awaited: what was not committed must not go on to serve."""
    place.plan(place.new)
    place.store.begin(place.service(place.name), myself(), "r1")
    assert place.runtime.converge([place.target(place.name)], [], place.host)[place.name].what == RESTARTED
    place.stopped = True
    assert place.up(place.new).what == UNCHANGED
    assert place.back().what == RESTARTED
    place.require_clear(place.service(place.name))


def test_on_the_way_forward_it_is_given_up(place: Rolled) -> None:
    place.stopped = True
    assert place.up(place.new) == Outcome(FAILED, "interrupted", [f"the log of blockchain-services_{place.name}_2"])


def test_an_edge_that_begins_anew_is_told_again_that_the_place_is_closed(place: Rolled) -> None:
    """Or it would give requests to what never becomes ready, and is healthy."""
    place.plan(place.new)
    digest = place.service(place.name)["digest"]
    begun: list[float] = []

    def begins_anew() -> int:
        if place.clock > 5 and not begun:
            begun.append(place.clock)
            place.edge.socket.restarts()
        elif begun and place.clock > begun[0] + 0.5:
            assert digest not in place.edge.socket.serves(place.name)
        return 503

    place.health.answers_at = {("/ready", digest): begins_anew}
    assert place.up(place.new).what == FAILED
    assert begun


def test_one_that_serves_alone_stays_whatever_docker_was_told(place: Rolled) -> None:
    (one,) = place.docker.there.values()
    one["HostConfig"]["RestartPolicy"]["Name"] = "no"
    place.plan()
    assert place.back().what == UNCHANGED
    assert list(place.docker.there.values()) == [one]
    place.require_clear(place.service(place.name))


def test_a_drain_that_the_edge_does_not_take_at_once_is_said_again(
    place: Rolled, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, said = place.edge.socket.set, []

    def deaf(service: str, name: str, state: str) -> None:
        if (name, state) == ("a", "drain"):
            said.append(place.clock)
            if len(said) < 5:
                raise HostctlError("no answer")
        tell(service, name, state)

    monkeypatch.setattr(place.edge.socket, "set", deaf)
    assert place.up(place.new).what == RESTARTED
    assert len(said) >= 5
    place.require_clear(place.service(place.name))


def test_what_has_not_proved_itself_is_gone_before_the_edge_begins_anew(place: Rolled) -> None:
    """A worker that begins knows no place that is closed."""
    place.kill_at = 4
    assert killed(lambda: place.up(place.new))
    place.kill_at = -1
    assert len(place.docker.there) == 2
    place.steps.clear()
    place.store.turn(place.name, ROLLING_BACK, myself())
    assert place.runtime.load_edge() == ""
    assert place.steps[-1] == "edge loads"
    assert [step for step in place.steps if step.startswith("remove")]
    assert len(place.docker.there) == 1


def test_the_rest_comes_after_what_rolls(place: Rolled) -> None:
    """A compose that looks at what they depend on must find it changed, or it would recreate it in place."""
    other = "blockchain-audit"
    place.edge.socket.behind[other] = (1, 2)
    place.must_serve = ""
    outcomes = place.runtime.converge([place.target(other)], [], place.host)
    assert outcomes[other].what == STARTED
    place.must_serve = place.name
    place.plan(place.new)
    place.store.begin(place.service(place.name), myself(), "r1")
    place.steps.clear()
    place.compose.runs.clear()
    place.runtime.converge([place.target(other), place.target(place.name)], [], place.host)
    assert place.compose.runs[-2:] == [[place.name, "beside"], [other]]
