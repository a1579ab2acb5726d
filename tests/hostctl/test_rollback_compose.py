"""`rollback` on a server: a container of the older image, which must still be here (P7)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest

from hostctl import health, ports, rollback, service
from hostctl.context import Context
from hostctl.errors import HostctlError
from hostctl.identity import myself
from hostctl.observe import observe
from tests.hostctl.compose_place import Place
from tests.plan.stacks import put

NAME, OTHER = "identity-service", "blockchain-audit"
OLD, NEW = "registry.example/identity:1", "registry.example/identity:2"
BACK = "rolled back to generation 1 by hand (after generation 2)"


class Server:
    """A converged server on which one service was brought up with two images, one after the other."""

    def __init__(self, root: Path) -> None:
        self.place = Place(root)
        for image in (OLD, NEW):
            self.place.docker.images[image] = {"Config": {"User": "10001:10001"}}
        self.up(OTHER)
        for image in (OLD, NEW):
            self.up(NAME, image)

    def run(self, verb: str) -> Context:
        made = Context(str(self.place.layout.root), verb)
        cast(Any, made)._runtime = self.place.runtime
        return made

    def up(self, name: str, image: str = OLD, observed: str = "") -> dict[str, Any]:
        # Without an edge: that is what test_compose_rolling.py is about.
        self.place.plan(put("updates", "recreate"), put("services.identity-service.image", image))
        return service.up(self.run("up"), self.place.service(name), observed)

    def back(self, to: int | None = None) -> dict[str, Any]:
        return rollback.back(self.run("rollback"), NAME, to)

    def serves(self) -> str:
        """The digest of the definition that its container was made of."""
        now = cast(Any, self.place.runtime).containers().current(NAME)
        return "" if now is None or now.state != "running" else now.digest

    def label(self) -> str:
        return observe(self.run("observe"), {"databases": {}, "secrets": {}, "containers": []})["services"][NAME]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(health, "probe", lambda url, timeout: "")
    monkeypatch.setattr(ports, "listeners", lambda wanted: [])
    return Server(tmp_path)


def test_back_and_forward_again(server: Server) -> None:
    new = server.serves()
    others = [one for one in server.place.docker.there.values() if OTHER in one["Name"]]
    assert server.label() == ""
    assert server.back() == {"name": NAME, "generation": 3, "from": 2, "to": 1, "outcome": "restarted"}
    assert server.serves() not in ("", new)
    assert f"image: {OLD}\n" in (server.place.layout.root / server.place.host["compose"]["file"]).read_text()
    assert [one for one in server.place.docker.there.values() if OTHER in one["Name"]] == others
    assert [server.label(), server.label()] == [BACK, BACK]
    kept = rollback.generations(server.run("generations"), NAME)
    assert [(row["generation"], row["image"], row["serves"]) for row in kept] == [
        (3, OLD, True),
        (2, NEW, False),
        (1, OLD, False),
    ]
    assert server.up(NAME, NEW, BACK)["outcome"] == "restarted"
    assert (server.serves(), server.label()) == (new, BACK)
    assert server.up(NAME, NEW, BACK)["outcome"] == "unchanged"


def test_its_image_must_be_here(server: Server) -> None:
    new = server.serves()
    del server.place.docker.images[OLD]
    runs = len(server.place.compose.runs)
    with pytest.raises(HostctlError) as caught:
        server.back()
    assert str(caught.value) == (
        f"identity-service can't go back to generation 1: its image {OLD} is not on this host; nothing was touched"
    )
    assert caught.value.exit_code == 1
    assert (server.serves(), server.label(), len(server.place.compose.runs)) == (new, "", runs)


def test_from_a_container_that_is_gone_or_ended(server: Server) -> None:
    for id_, one in list(server.place.docker.there.items()):
        if NAME in one["Name"]:
            del server.place.docker.there[id_]
    assert (server.serves(), server.back()["outcome"]) == ("", "started")
    assert server.serves()
    (now,) = [one for one in server.place.docker.there.values() if NAME in one["Name"]]
    now["State"].update(Status="exited", Running=False)
    assert server.back()["to"] == 2
    assert server.serves()


def test_not_across_two_ways_to_have_a_port(server: Server) -> None:
    """One service alone would take its port from the edge, or leave it to nobody."""
    serves = server.serves()
    server.place.plan(put("services.identity-service.image", NEW))
    definition = server.place.service(NAME)
    store = server.run("x").store
    store.begin(definition, myself(), "r")
    store.commit(NAME, "")
    with pytest.raises(HostctlError) as caught:
        server.back()
    assert "for `updates: recreate`, which this host has no more: set that in the stack file, and `up`" in str(
        caught.value
    )
    assert str(caught.value).endswith("nothing was touched")
    assert server.serves() == serves


def test_one_that_docker_has_just_started_again_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash of Docker's `up` must not say that all is as wanted, and nobody answers."""
    monkeypatch.setattr(health, "probe", lambda url, timeout: "Connection refused")
    assert server.label() == ""  # what runs for long was healthy once, and is nobody's change
    (one,) = [each for each in server.place.docker.there.values() if NAME in each["Name"]]
    one["State"]["StartedAt"] = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(time.time() - 3))
    assert server.label().startswith("it has just begun and is not healthy yet: Connection refused")
    monkeypatch.setattr(health, "probe", lambda url, timeout: "")
    assert server.label() == ""


@pytest.mark.parametrize("before", [True, False])
def test_not_across_a_change_of_who_reaches_it(server: Server, before: bool) -> None:
    """With `tls` nobody outside reaches its own port, and without it there is no other: it would be cut off."""
    store = server.run("x").store
    for public in (before, not before):
        server.place.plan(put(f"services.{NAME}.public", public), put(f"services.{NAME}.env", {"A": str(public)}))
        store.begin(server.place.service(NAME), myself(), "r")
        store.commit(NAME, "")
    with pytest.raises(HostctlError) as caught:
        server.back()
    how = "it was public then" if before else "it was not public, or had tls then"
    assert f"{how}, and the edge and the firewall go by how it is now" in str(caught.value)
    assert str(caught.value).endswith("nothing was touched")
