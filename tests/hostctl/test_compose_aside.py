"""Containers of the documented names that somebody else made: kept, and given back (D18, E1)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from hostctl.layout import read_json
from hostctl.runtime import FAILED, STARTED, UNCHANGED
from tests.hostctl.compose_place import Place

NAME = "dao-service-1"
KEPT = NAME + ".before-blockchain-dao"
MEMBERS = [f"dao-service-{number}" for number in range(1, 4)]
ALWAYS = {"Name": "always", "MaximumRetryCount": 0}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def theirs(place: Place, **more: Any) -> dict[str, Any]:
    more.setdefault("restart", "always")
    return place.docker.there[place.docker.add(NAME, {}, **more)]


def state(one: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return one["Name"][1:], one["State"]["Status"], one["HostConfig"]["RestartPolicy"]


def test_one_is_kept_once_and_never_starts_by_itself(place: Place) -> None:
    one = theirs(place, ports=[{"PublicPort": 8200}])
    assert place.runtime.strangers({NAME: place.service(NAME)}, []) == {}
    assert place.converge(NAME) == {NAME: STARTED}
    assert place.names() == [NAME, KEPT]
    # With its policy left, Docker would start it again after a restart of its own.
    assert state(one) == (KEPT, "exited", {"Name": "no", "MaximumRetryCount": 0})
    done = [word for word in place.docker.done if NAME in word]
    assert done[:3] == [f"update {NAME}", f"stop {NAME}", f"rename {NAME}"]
    assert place.converge(NAME) == {NAME: UNCHANGED}


def test_a_failed_first_start_leaves_it_as_it_was(place: Place) -> None:
    one = theirs(place)
    place.converge(NAME)
    assert place.converge(gone=(NAME,), undone=True) == {}
    assert state(one) == (NAME, "running", ALWAYS)
    assert place.names() == [NAME]
    assert not place.layout.adopted.exists()


def test_a_plain_removal_gives_the_name_back_and_destroy_the_rest(place: Place) -> None:  # E1
    one = theirs(place)
    place.converge(NAME)
    place.converge(gone=(NAME,))
    assert state(one) == (NAME, "exited", {"Name": "no", "MaximumRetryCount": 0})
    place.converge(NAME)  # the edition comes back
    assert state(one)[:2] == (KEPT, "exited")
    place.converge(gone=(NAME,))
    place.runtime.stop_everything()
    assert state(one) == (NAME, "running", ALWAYS)
    assert not place.layout.adopted.exists()


def test_one_that_did_not_run_is_given_back_as_it_was(place: Place) -> None:
    one = theirs(place, state="exited", restart="")
    place.converge(NAME)
    place.runtime.stop_everything()
    assert state(one) == (NAME, "exited", {"Name": "", "MaximumRetryCount": 0})
    assert f"update {NAME}" not in place.docker.done


@pytest.mark.parametrize("after", ["update", "stop", "rename"])
@pytest.mark.parametrize("again", [True, False])
def test_a_kill_in_between_loses_nothing(place: Place, after: str, again: bool) -> None:
    one = theirs(place)
    place.docker.killed_after = f"{after} {NAME}"
    with pytest.raises(KeyboardInterrupt):
        place.converge(NAME)
    if again:
        assert place.converge(NAME) == {NAME: STARTED}
    place.runtime.stop_everything()
    assert state(one) == (NAME, "running", ALWAYS)
    assert place.names() == [NAME]


def test_destroy_gives_back_what_no_container_of_ours_stands_for(place: Place) -> None:
    one = theirs(place)
    place.converge(NAME)
    ours = next(id_ for id_, there in place.docker.there.items() if there is not one)
    del place.docker.there[ours]  # by hand
    place.runtime.stop_everything()
    assert state(one) == (NAME, "running", ALWAYS)


def test_a_name_that_is_taken_meanwhile_stops_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    one = theirs(place)
    place.converge(NAME)
    place.converge(gone=(NAME,))
    one["Name"] = f"/{KEPT}"
    place.docker.add(NAME, {})
    place.runtime.stop_everything()
    assert state(one) == (KEPT, "running", ALWAYS)
    assert f"stays {KEPT}: its name is taken" in capsys.readouterr().err


def test_one_that_is_gone_or_cant_start_keeps_nothing_of_ours(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    one = theirs(place)
    place.converge(NAME)
    place.docker.refuses.add(f"start {NAME}")
    place.runtime.stop_everything()
    assert place.names() == [NAME]
    assert f"can't be started again: it won't start {NAME}" in capsys.readouterr().err
    place.docker.refuses.clear()
    place.converge(NAME)
    del place.docker.there[one["Id"]]
    place.runtime.stop_everything()
    assert (place.names(), place.layout.adopted.exists()) == ([], False)


def test_two_that_are_not_ours_fail_alone(place: Place) -> None:
    theirs(place)
    place.docker.add(KEPT, {})
    found = place.runtime.converge([place.target(NAME), place.target("blockchain-audit")], [], place.host)
    assert (found[NAME].what, found["blockchain-audit"].what) == (FAILED, STARTED)
    assert found[NAME].detail.startswith(f"both {NAME} and {KEPT} are containers that are not ours")


def test_many_are_given_back_one_after_the_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their record is one file, and removals run in threads."""
    for name in MEMBERS:
        place.docker.add(name, {})
    place.converge(*MEMBERS)
    threads: set[threading.Thread] = set()
    real = place.docker.post

    def post(path: str, *words: Any, **more: Any) -> Any:
        if path.endswith("/rename"):
            threads.add(threading.current_thread())
        return real(path, *words, **more)

    monkeypatch.setattr(place.docker, "post", post)
    assert place.converge(gone=tuple(MEMBERS), undone=True) == {}
    assert (place.names(), place.layout.adopted.exists()) == (MEMBERS, False)
    assert threads == {threading.current_thread()}


def test_a_full_disk_is_that_services_trouble(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs(place)
    place.converge(NAME, "blockchain-audit")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    cast(Any, monkeypatch).setattr("hostctl.compose_aside.remove", full)
    assert place.converge(gone=(NAME, "blockchain-audit"), undone=True) == {NAME: FAILED}
    monkeypatch.undo()
    assert list(read_json(place.layout.adopted)) == [NAME]
    assert place.converge(gone=(NAME,), undone=True) == {}
    assert place.names() == [NAME]
