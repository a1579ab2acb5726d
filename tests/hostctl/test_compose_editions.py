"""An edition's containers keep their documented names although two of one run while it is updated (E2, D18)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hostctl import compose_aside, recovery
from hostctl.observe import observe
from hostctl.runtime import FAILED, RESTARTED, STARTED, UNCHANGED, Target
from tests.hostctl import samples
from tests.hostctl.fake import FakeHost, FakeRuntime
from tests.hostctl.rolled import MEMBER, NEW, Rolled, started
from tests.plan.stacks import put

KEPT = MEMBER + compose_aside.ASIDE
MADE = f"blockchain-services_{MEMBER}_1"
LACKS = f"its container is not called {MEMBER}"
OTHER = "blockchain-audit"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rolled:
    """A host with an edge on which no container of the edition is ours yet."""
    return Rolled(tmp_path, monkeypatch, MEMBER)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rolled:
    return started(tmp_path, monkeypatch, MEMBER)


def theirs(place: Rolled, name: str = MEMBER, **more: Any) -> dict[str, Any]:
    """A container of the documented name that somebody else made."""
    more = {"restart": "always", "ports": [{"PublicPort": 8200}], **more}
    return place.docker.there[place.docker.add(name, {}, **more)]


def ours(place: Rolled) -> dict[str, Any]:
    (one,) = [one for one in place.docker.there.values() if one["Config"]["Labels"]]
    return one


def state(one: dict[str, Any]) -> tuple[str, str, str]:
    return one["Name"][1:], one["State"]["Status"], one["HostConfig"]["RestartPolicy"]["Name"]


def undo(place: Rolled) -> dict[str, Any]:
    """What follows on a first start that failed."""
    return dict(place.runtime.converge([], [Target(MEMBER, 3, undone=True)], place.host))


def test_a_name_that_somebody_changed_is_seen_and_given_back_without_a_restart(place: Rolled) -> None:
    one = ours(place)
    before = one["Id"], one["State"]["StartedAt"]
    one["Name"] = "/by-hand"
    assert place.runtime.misnamed(MEMBER) == LACKS
    place.steps.clear()
    assert place.up().what == UNCHANGED
    assert [step for step in place.steps if "loads" not in step] == ["rename by-hand"]
    assert (one["Id"], one["State"]["StartedAt"]) == before
    place.require_clear(place.service(MEMBER))


def test_other_services_have_no_name_to_lack(place: Rolled) -> None:
    place.docker.ours(OTHER, place.service(OTHER)["digest"], name="anything")
    assert place.runtime.misnamed(OTHER) == ""
    assert place.runtime.misnamed("nobody") == ""


def test_a_preview_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeHost(tmp_path, monkeypatch)
    fake.host()
    made = samples.service()
    FakeRuntime.ports[made["digest"]] = str(made["ports"][0])
    fake.up(made, observed="first")
    assert label(fake) == "first"
    fake.runtime.called_otherwise = LACKS
    assert label(fake) == f"{LACKS} (after generation 1)"
    fake.runtime.called_otherwise = ""
    assert label(fake) == "first"


def label(fake: FakeHost) -> str:
    asked: Any = {"databases": {}, "secrets": {}, "containers": []}
    return observe(fake.context(), asked)["services"]["identity-service"]


def test_what_was_here_makes_way_before_the_edge_takes_its_port(bare: Rolled) -> None:
    one = theirs(bare)
    assert bare.up().what == STARTED
    steps = [step for step in bare.steps if step != f"update {MADE}"]
    assert steps == [f"update {MEMBER}", f"stop {MEMBER}", f"rename {MEMBER}", "edge loads", f"rename {MADE}"]
    assert state(one) == (KEPT, "exited", "no")
    assert state(ours(bare)) == (MEMBER, "running", "always")
    bare.steps.clear()
    assert bare.up(bare.new).what == RESTARTED  # while the other one is kept
    assert state(one) == (KEPT, "exited", "no")
    assert state(ours(bare)) == (MEMBER, "running", "always")


def test_after_a_failed_first_start_the_edge_lets_go_before_it_runs_again(bare: Rolled) -> None:
    one = theirs(bare)
    bare.up()
    bare.steps.clear()
    assert undo(bare) == {}
    assert bare.steps == [
        f"stop {MEMBER}", f"remove {MEMBER}", "edge loads", f"rename {KEPT}", f"update {MEMBER}", f"start {MEMBER}",
    ]  # fmt: skip
    assert state(one) == (MEMBER, "running", "always")


def test_a_port_that_the_edge_lets_go_of_a_moment_later(bare: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    one = theirs(bare)
    bare.up()
    bare.docker.refuses.add(f"start {MEMBER}")
    monkeypatch.setattr(compose_aside.time, "sleep", lambda seconds: bare.docker.refuses.clear())
    assert undo(bare) == {}
    assert state(one) == (MEMBER, "running", "always")


AT_MOST = 5
"""Changes of a first start on a host that has somebody's container of the name."""


@pytest.mark.parametrize("at", range(1, AT_MOST + 2))
@pytest.mark.parametrize("forward", [True, False])
def test_a_first_start_that_is_killed_loses_neither(bare: Rolled, at: int, forward: bool) -> None:
    one = theirs(bare)
    bare.kill_at = at
    try:
        bare.up()
        assert at > AT_MOST
    except KeyboardInterrupt:
        assert at <= AT_MOST
    bare.kill_at = -1
    if forward:
        assert bare.up().what in (STARTED, UNCHANGED)
        assert state(ours(bare)) == (MEMBER, "running", "always")
        assert state(one) == (KEPT, "exited", "no")
    assert undo(bare) == {}
    assert state(one) == (MEMBER, "running", "always")
    assert len(bare.docker.there) == 1


def test_a_run_that_ended_before_the_name_was_given_is_no_reason_to_go_back(place: Rolled) -> None:
    """What runs is what is wanted: recovery keeps it, and names it."""
    place.kill_at = 10
    with pytest.raises(KeyboardInterrupt, match=f"ready {MEMBER}/a"):
        place.up(place.new)
    assert place.runtime.misnamed(MEMBER) == LACKS
    context, digest = cast(Any, SimpleNamespace(runtime=place.runtime)), place.service(MEMBER)["digest"]
    assert not recovery._other(context, MEMBER, digest)  # pyright: ignore[reportPrivateUsage]
    place.steps.clear()
    assert place.up(place.new).what == UNCHANGED
    assert [step for step in place.steps if step.startswith(("start", "stop", "remove"))] == []
    place.require_clear(place.service(MEMBER))


def test_a_name_that_cant_be_had_ends_nothing(place: Rolled, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody took both names while an update ran: what serves goes on, and the next preview says so."""
    ours(place)["Name"] = "/by-hand"
    first, second = theirs(place, ports=[]), theirs(place, KEPT, ports=[])
    outcome = place.up(place.new)
    assert outcome.what == RESTARTED
    assert place.edge.socket.serves(MEMBER) == [place.service(MEMBER)["digest"]]
    assert f"both {MEMBER} and {KEPT} are containers that are not ours" in capsys.readouterr().err
    assert (state(first)[:2], state(second)[:2]) == ((MEMBER, "running"), (KEPT, "running"))
    assert place.runtime.misnamed(MEMBER) == LACKS
    del place.docker.there[second["Id"]]
    assert place.up(place.new).what == UNCHANGED
    assert state(first) == (KEPT, "exited", "no")  # set aside before ours gets the name (D18)
    assert state(ours(place)) == (MEMBER, "running", "always")


def test_two_that_are_not_ours_are_told_before_anything_is_touched(bare: Rolled) -> None:
    """Behind one edge, a port that it can't have would be everybody's trouble."""
    theirs(bare)
    definitions = {name: bare.service(name) for name in (MEMBER, OTHER)}
    assert bare.runtime.strangers(definitions, []) == {}
    theirs(bare, KEPT, ports=[])
    assert bare.runtime.strangers(definitions, []) == {
        MEMBER: [f"both {MEMBER} and {KEPT} are containers that are not ours: remove or rename one of them"]
    }
    bare.plan(put("updates", "recreate"))
    assert list(bare.runtime.strangers({MEMBER: bare.service(MEMBER)}, [])) == [MEMBER]


def test_from_fixed_names_to_given_ones_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Rolled(tmp_path, monkeypatch, MEMBER)
    for changes, label in (([put("updates", "recreate")], None), ([], MEMBER), ([put("updates", "recreate")], None)):
        assert place.up(*changes).what in (STARTED, RESTARTED)
        assert state(ours(place)) == (MEMBER, "running", "always")
        assert ours(place)["Config"]["Labels"].get("blockchain-dao.container") == label
        assert place.up(*changes).what == UNCHANGED


def test_a_label_without_an_edge_is_followed_too(place: Rolled) -> None:
    """While the edge doesn't run it is stopped and started; the name is given all the same."""
    place.edge.up, place.must_serve = False, ""
    assert place.up(NEW[MEMBER]).what == RESTARTED
    assert place.compose.runs[-1] == [MEMBER]
    assert state(ours(place)) == (MEMBER, "running", "always")


def test_one_that_cant_be_removed_gives_nothing_back(bare: Rolled) -> None:
    one = theirs(bare)
    bare.up()
    bare.docker.refuses.add(f"remove {MEMBER}")
    assert undo(bare)[MEMBER].what == FAILED
    assert state(one) == (KEPT, "exited", "no")
