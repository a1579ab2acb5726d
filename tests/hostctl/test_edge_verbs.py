"""The verbs on a host with an edge: what they refuse because of it, and what observing sees of it."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from hostctl import edge_kept, firewall, health, host, input_chain, ports, rollback, service
from hostctl.context import Context
from hostctl.edge import EDGE
from hostctl.errors import BadInput, HostctlError
from hostctl.identity import myself
from hostctl.observe import observe
from tests.hostctl.rolled import NAME, Rolled
from tests.plan.stacks import put

OTHER = "blockchain-audit"
RECREATE = (put("updates", "recreate"), put("edge", None))
ASKED: Any = {"databases": {}, "secrets": {}, "containers": []}


class Verbs(Rolled):
    """A server on which an edge and a service behind it are up."""

    def run(self, verb: str = "test") -> Context:
        made = Context(str(self.layout.root), verb)
        cast(Any, made)._runtime = self.runtime
        return made

    def bring(self, name: str, *changes: Any) -> dict[str, Any]:
        self.plan(*changes)
        return service.up(self.run(), self.service(name), "")

    def down(self, name: str) -> str:
        return service.down(self.run(), name)["outcome"]

    def back(self, to: int | None = None) -> dict[str, Any]:
        return rollback.back(self.run(), NAME, to)

    def label(self, name: str) -> str:
        return observe(self.run(), ASKED)["services"][name]


@pytest.fixture
def verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    monkeypatch.setattr(health, "probe", lambda url, timeout: "")
    monkeypatch.setattr(ports, "listeners", lambda wanted: [])
    monkeypatch.setattr(input_chain, "warning", lambda context, definition: "")  # not of this machine
    made = Verbs(tmp_path, monkeypatch)
    made.docker.images[made.service(EDGE)["launch"]["image"]] = {"Config": {}}
    made.bring(EDGE)
    made.bring(NAME)
    return made


# --- `down edge` ---


def test_an_edge_with_services_behind_it_does_not_go(verbs: Verbs) -> None:
    verbs.bring(OTHER)
    there, text = copy.deepcopy(verbs.docker.there), (verbs.layout.root / "edge/haproxy.cfg").read_text()
    with pytest.raises(HostctlError) as caught:
        verbs.down(EDGE)
    assert str(caught.value) == (
        f"edge can't go: behind it are {OTHER}, {NAME}, which nobody would reach without it; "
        "remove them first, or set `updates: recreate` and `up`; nothing was touched"
    )
    assert caught.value.exit_code == 1
    assert verbs.docker.there == there
    assert (verbs.layout.root / "edge/haproxy.cfg").read_text() == text
    assert (verbs.label(EDGE), verbs.label(NAME)) == ("", "")


def test_services_first_as_destroy_does_it(verbs: Verbs) -> None:
    assert [verbs.down(NAME), verbs.down(EDGE), verbs.down(EDGE)] == ["removed", "removed", "absent"]
    assert verbs.docker.there == {}


def test_services_that_have_left_it_as_recreate_does_it(verbs: Verbs) -> None:
    verbs.bring(NAME, *RECREATE)
    assert verbs.down(EDGE) == "removed"
    assert [one["Name"] for one in verbs.docker.there.values()] == [f"/blockchain-services_{NAME}_1"]
    assert not (verbs.layout.root / "edge").exists()


def test_one_that_may_still_come_back_to_it_keeps_it(verbs: Verbs) -> None:
    """It is leaving, and has not proved itself on its own port: it may be put back."""
    verbs.plan(*RECREATE)
    verbs.store.begin(verbs.service(NAME), myself(), "r9")
    with pytest.raises(HostctlError, match=f"behind it are {NAME}, which"):
        verbs.down(EDGE)
    verbs.store.abandon(NAME)
    verbs.store.turn(NAME, "removing", myself(), "r10")  # a removal comes to its end, whoever does it
    assert verbs.down(EDGE) == "removed"


def test_a_service_that_is_no_edge_goes_whoever_is_behind_the_edge(verbs: Verbs) -> None:
    verbs.bring(OTHER)
    assert verbs.down(OTHER) == "removed"


# --- `rollback` across a change of `updates` ---


def test_no_way_back_past_the_edge(verbs: Verbs) -> None:
    verbs.bring(NAME, *RECREATE)
    verbs.bring(NAME)  # behind the edge again
    there, runs = copy.deepcopy(verbs.docker.there), len(verbs.compose.runs)
    for to in (None, 2):
        with pytest.raises(HostctlError) as caught:
            verbs.back(to)
        assert str(caught.value) == (
            f"{NAME} can't go back to generation 2: it was made for `updates: recreate`, which this host has no more: "
            "set that in the stack file, and `up`; nothing was touched"
        )
        assert caught.value.exit_code == 1
    assert (verbs.docker.there, len(verbs.compose.runs)) == (there, runs)
    assert verbs.label(NAME) == ""


def test_nor_behind_an_edge_that_it_has_left(verbs: Verbs) -> None:
    verbs.bring(NAME, *RECREATE)
    with pytest.raises(HostctlError) as caught:
        verbs.back()
    assert str(caught.value) == (
        f"{NAME} can't go back to generation 1: it was made for `updates: rolling`, which this host has no more: "
        "set that in the stack file, and `up`; nothing was touched"
    )


def test_on_this_side_of_the_change_there_is_a_way(verbs: Verbs) -> None:
    verbs.bring(NAME, *RECREATE)
    verbs.bring(NAME, *RECREATE, verbs.new)
    assert verbs.back()["outcome"] == "restarted"


# --- certificates ---


def test_certificates_that_are_not_there_are_told_before_anything_is_touched(verbs: Verbs, tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    there, generation = copy.deepcopy(verbs.docker.there), verbs.store.record(EDGE)
    verbs.plan(put("edge.certificates", str(folder)))
    with pytest.raises(BadInput) as caught:
        service.up(verbs.run(), verbs.service(EDGE), "")
    assert str(caught.value).startswith(
        f"the definition of edge: edge.certificates: {folder} on this server does not exist; it must hold PEM files"
    )
    assert caught.value.exit_code == 2
    assert (verbs.docker.there, verbs.store.record(EDGE), folder.exists()) == (there, generation, False)


# --- observing ---


def test_a_second_container_that_a_killed_run_left_is_seen_and_the_next_up_takes_it_away(verbs: Verbs) -> None:
    (serving,) = [one for one in verbs.docker.there.values() if NAME in one["Name"]]
    left = copy.deepcopy(serving)
    left.update(Id="left", Name=serving["Name"].replace("_1", "_2"), Created="2")
    left["State"].update(Status="created", Running=False, Pid=0)
    verbs.docker.there["left"] = left
    told = "a second container of it is left (after generation 1)"
    assert [verbs.label(NAME), verbs.label(NAME)] == [told, told]
    assert service.up(verbs.run(), verbs.service(NAME), told)["outcome"] == "unchanged"
    assert [one["Id"] for one in verbs.docker.there.values() if NAME in one["Name"]] == [serving["Id"]]
    assert verbs.label(NAME) == told  # adopted: nothing differs


def test_an_edge_that_nobody_can_tell_anything_is_replaced(verbs: Verbs) -> None:
    (silent,) = [id_ for id_, one in verbs.docker.there.items() if EDGE in one["Name"]]
    verbs.edge.mute = True

    def takes_over(what: str) -> None:
        if what == "start blockchain-services_edge_2":
            verbs.edge.mute = False
            verbs.edge.socket.start += 1

    verbs.docker.watch = takes_over
    assert verbs.bring(EDGE)["outcome"] == "restarted"
    assert silent not in verbs.docker.there
    assert verbs.bring(EDGE)["outcome"] == "unchanged"


# --- a host that lost its records ---


def lose_records(verbs: Verbs) -> None:
    for path in verbs.layout.state.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != verbs.layout.host:  # `host` comes first, and writes it again
            path.unlink()
    verbs.layout.make()


def configuration(verbs: Verbs) -> str:
    return (verbs.layout.root / "edge/haproxy.cfg").read_text()


def test_lost_records_close_no_port(verbs: Verbs, capsys: pytest.CaptureFixture[str]) -> None:
    verbs.bring(OTHER)
    whole, there = configuration(verbs), copy.deepcopy(verbs.docker.there)
    lose_records(verbs)
    capsys.readouterr()
    assert verbs.bring(EDGE)["outcome"] == "unchanged"
    assert configuration(verbs) == whole
    said = f"edge: {OTHER}, {NAME} keep their ports until their own `up`: their records are lost"
    assert said in capsys.readouterr().err
    assert verbs.label(EDGE) == ""
    assert verbs.bring(NAME)["outcome"] == "unchanged"
    assert configuration(verbs) == whole  # the other one is still to come
    assert verbs.bring(OTHER)["outcome"] == "unchanged"
    assert (configuration(verbs), verbs.docker.there) == (whole, there)
    assert not verbs.layout.kept.exists()
    assert verbs.down(OTHER) == "removed"
    assert f"listen {OTHER}" not in configuration(verbs)
    assert [verbs.label(EDGE), verbs.label(NAME)] == ["", ""]


def test_one_that_nobody_claims_is_gone_with_its_container(verbs: Verbs, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_records(verbs)
    verbs.bring(EDGE)
    assert f"backend {NAME} " in configuration(verbs)
    monkeypatch.setattr(host, "_make_ready", lambda context, definition: [])
    monkeypatch.setattr(firewall, "apply", lambda layout, definition: [])
    monkeypatch.setattr(host, "runtime_for", lambda name, layout: verbs.runtime)
    verbs.must_serve = ""
    host.converge(verbs.run("host"), verbs.host, None)
    assert f"backend {NAME} " not in configuration(verbs)
    assert [one["Name"] for one in verbs.docker.there.values()] == ["/blockchain-services_edge_1"]
    assert not verbs.layout.kept.exists()


def test_one_that_does_not_run_any_more_has_no_port_to_keep(verbs: Verbs) -> None:
    verbs.bring(OTHER)
    lose_records(verbs)
    for one in verbs.docker.there.values():
        if NAME in one["Name"]:
            one["State"].update(Status="exited", Running=False)
    verbs.bring(EDGE)
    assert set(edge_kept.sections(configuration(verbs))) == {EDGE, OTHER}


def test_an_edge_that_is_on_record_keeps_nothing(verbs: Verbs) -> None:
    """A section that somebody wrote into the file by hand is none of ours."""
    path = verbs.layout.root / "edge/haproxy.cfg"
    path.write_text(path.read_text() + "\nlisten stranger\n    bind 127.0.0.1:9999\n")
    verbs.docker.ours("stranger", "0" * 12)
    verbs.bring(EDGE)
    assert "stranger" not in configuration(verbs)


def test_sections_byte_for_byte() -> None:
    text = (
        "# ours\nglobal\n    log stdout\n\ndefaults\n    mode http\n\nlisten edge\n    bind :1\n"
        "\nfrontend edge.acme\n    bind :80\n\n# of a\nlisten a\n    bind :2\n    server a x\n"
        "\nbackend b.c\n\tserver b y\n"
    )
    assert edge_kept.sections(text) == {
        "edge": "\nlisten edge\n    bind :1\n\nfrontend edge.acme\n    bind :80\n",
        "a": "\n# of a\nlisten a\n    bind :2\n    server a x\n",
        "b": "\nbackend b.c\n\tserver b y\n",
    }
    assert edge_kept.sections("") == {}
