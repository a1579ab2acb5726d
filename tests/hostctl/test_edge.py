"""The edge's socket, its configuration, and the edge's own container: against a socket that speaks as HAProxy does."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from hostctl import edge as edge_module
from hostctl.compose_containers import Containers
from hostctl.edge import EDGE, FILE, SOCKET, Edge, edge_problems, reason_of
from hostctl.edge_socket import EdgeSilent, EdgeSocket
from hostctl.errors import HostctlError
from hostctl.forms import ServiceDefinition
from hostctl.layout import Layout, write_atomic
from tests.hostctl.fake_docker import FakeDocker

STAT = """\
# pxname,svname,qcur,qmax,scur,smax,slim,stot,status,weight
edge,FRONTEND,,,0,1,500,3,OPEN,
identity-service,FRONTEND,,,1,4,500,30,OPEN,
identity-service,a,0,0,2,3,,20,UP,1
identity-service,b,1,0,0,3,,20,DRAIN (agent),1
identity-service,BACKEND,0,0,2,3,50,40,UP,1

"""

STATE = """\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight
2 identity-service 1 a 172.28.84.1 2 0 1
2 identity-service 2 b 172.28.84.1 0 8 1

"""


class Haproxy(socketserver.ThreadingUnixStreamServer):
    """Answers one command a connection."""

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self.answers = {
            "show stat": STAT,
            "show servers state identity-service": STATE,
            "show servers state nobody": "Can't find backend.\n",
            "show info": "Name: HAProxy\nPid: 8\nUptime: 0d\nStart_time_sec: 1795583902\n",
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(str(path), _Answer)
        self.daemon_threads = True
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = cast(Haproxy, self.server)
        command = self.rfile.readline().decode().strip()
        server.asked.append(command)
        self.wfile.write((server.answers.get(command, "") + "\n").encode())


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(str(tmp_path / "root"))
    made.make()
    return made


@pytest.fixture
def haproxy(layout: Layout) -> Iterator[Haproxy]:
    server = Haproxy(layout.root / SOCKET)
    yield server
    server.shutdown()
    server.server_close()


def test_what_the_socket_says(layout: Layout, haproxy: Haproxy) -> None:
    socket = EdgeSocket(layout.root / SOCKET)
    assert (socket.worker(), socket.began()) == (8, 1795583902)
    assert set(socket.slots()) == {"identity-service"}  # the edge's own page is nobody's place
    first, second = socket.slot("identity-service", "a"), socket.slot("identity-service", "b")
    assert first is not None
    assert second is not None
    assert (first.up, first.requests) == (True, 2)
    assert (second.up, second.requests) == (False, 1)  # what is queued is under way, too
    assert socket.slot("identity-service", "c") is None
    assert (socket.drained("identity-service"), socket.drained("nobody")) == ({"b"}, set())
    socket.empty("identity-service", "b")
    assert haproxy.asked[-2:] == [
        "set server identity-service/b health down",
        "set server identity-service/b state ready",
    ]


def test_what_haproxy_refuses_is_an_error(layout: Layout, haproxy: Haproxy) -> None:
    haproxy.answers["set server x/a state drain"] = "No such backend."
    with pytest.raises(HostctlError, match=r"x/a is drain: No such backend\."):
        EdgeSocket(layout.root / SOCKET).set("x", "a", "drain")


def test_a_silent_edge(layout: Layout) -> None:
    socket = EdgeSocket(layout.root / SOCKET)
    with pytest.raises(EdgeSilent, match="doesn't answer"):
        socket.ask("show info")
    assert (socket.worker(), socket.began()) == (0, 0)


class Place:
    """An edge that runs, and its configuration."""

    def __init__(self, layout: Layout, haproxy: Haproxy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout, self.haproxy = layout, haproxy
        self.docker = FakeDocker()
        self.id = self.docker.ours(EDGE, "0" * 12)
        self.takes = True
        post = self.docker.post
        monkeypatch.setattr(self.docker, "post", lambda path, **query: self._kill(path, query) or post(path, **query))
        monkeypatch.setattr(self.docker, "get", lambda path, **query: {"Processes": [["7"], ["8"]]})
        monkeypatch.setattr(edge_module, "RELOAD_SECONDS", 0.2)
        monkeypatch.setattr(edge_module, "START_SECONDS", 0.2)
        api = cast(Any, self.docker)
        self.edge = Edge(layout, api, Containers(layout, api, "tencent"))
        self.signals: list[str] = []

    def _kill(self, path: str, query: dict[str, Any]) -> bool:
        if not path.endswith("/kill"):
            return False
        self.signals.append(query["signal"])
        if self.takes:
            pid = 8 + 4 * len(self.signals)
            self.haproxy.answers["show info"] = f"Pid: {pid}\n"
        return True

    def write(self, text: str) -> None:
        path = self.layout.root / FILE
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, text, 0o644)


@pytest.fixture
def place(layout: Layout, haproxy: Haproxy, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(layout, haproxy, monkeypatch)


def test_it_loads_what_it_has_not_and_nothing_twice(place: Place) -> None:
    place.write("one\n")
    assert place.edge.await_started() == ""
    assert (place.edge.load(), place.signals) == ("", [])  # it started with this text
    place.write("two\n")
    assert place.edge.differs() == "it has not loaded edge/haproxy.cfg as it is now"
    assert (place.edge.load(), place.signals) == ("", ["SIGUSR2"])
    assert place.edge.differs() == ""
    assert (place.edge.load(), place.signals) == ("", ["SIGUSR2"])
    assert (place.edge.load(always=True), len(place.signals)) == ("", 2)


def test_one_that_docker_started_again_is_told_once_more(place: Place) -> None:
    place.write("one\n")
    place.edge.await_started()
    place.docker.there[place.id]["State"]["StartedAt"] += "+"
    assert place.edge.differs() == ""  # whatever it read, it was the file
    assert (place.edge.load(), place.signals) == ("", ["SIGUSR2"])


def test_what_it_does_not_take_is_told_with_its_words(place: Place) -> None:
    place.write("one\n")
    place.edge.await_started()
    place.takes = False
    place.docker.there[place.id]["Logs"] = ["[ALERT] (1) : Starting proxy x: cannot bind socket [0.0.0.0:8401]"]
    place.write("two\n")
    told = "the edge did not take its new configuration: Starting proxy x: cannot bind socket [0.0.0.0:8401]"
    assert place.edge.load() == told
    assert place.edge.differs() != ""  # the next run tries again


def test_one_that_runs_and_is_silent_is_not_well(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write("one\n")
    place.edge.await_started()
    assert place.edge.differs() == ""
    monkeypatch.setattr(edge_module, "SILENT_SECONDS", 0.1)
    del place.haproxy.answers["show info"]
    assert place.edge.differs() == "it runs, and does not answer on its socket"


def test_it_waits_for_workers_that_finish(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(edge_module, "say", said.append)
    monkeypatch.setattr(edge_module, "CALM_SECONDS", 0.1)
    place.edge.calm(5)
    assert said == []  # the master and its worker
    answers = [[["7"], ["8"], ["9"]], [["7"], ["8"], ["9"]], [["7"], ["8"]]]
    monkeypatch.setattr(place.docker, "get", lambda path, **query: {"Processes": answers.pop(0)})
    place.edge.calm(5)
    assert answers == []
    monkeypatch.setattr(place.docker, "get", lambda path, **query: {"Processes": [["7"], ["8"], ["9"]]})
    place.edge.calm(0.1)
    assert said[-1] == "warning: an older worker of the edge goes on; its requests may be lost"


def test_without_a_container_there_is_nothing_to_load(place: Place) -> None:
    place.docker.there.clear()
    place.write("one\n")
    assert (place.edge.load(), place.edge.services(), place.edge.pids()) == ("", set(), set())


def test_its_processes_and_services(place: Place) -> None:
    assert place.edge.pids() == {7, 8}
    assert place.edge.services() == {"identity-service"}


def test_reasons_are_haproxys_own_with_the_line() -> None:
    said = """\
[NOTICE]   (1) : haproxy version is 2.6.12-1+deb12u3
[NOTICE]   (1) : path to executable is /usr/sbin/haproxy
[ALERT]    (1) : config : parsing [/dev/stdin:40] : unknown keyword 'bnid' in 'listen' section
[ALERT]    (1) : config : Error(s) found in configuration file : /dev/stdin
[ALERT]    (1) : config : Fatal errors found in configuration.
""".splitlines()
    assert reason_of(said) == "line 40: unknown keyword 'bnid' in 'listen' section"


def test_the_teams_certificates_must_be_there_before_anything_is_touched(tmp_path: Path) -> None:
    """Docker would make the folder, and nobody could say why the edge doesn't start."""
    folder = tmp_path / "tls"
    definition = cast(ServiceDefinition, {"proxy": {"file": FILE, "sockets": "", "certificates": str(folder)}})
    missing = f"edge.certificates: there is no folder {folder} on this host; put the PEM files there first"
    assert edge_problems(definition) == [missing]
    folder.mkdir()
    assert edge_problems(definition) == [
        f"edge.certificates: {folder} has no file; put the PEM files (chain and key) there first"
    ]
    (folder / "site.pem").write_text("x")
    assert edge_problems(definition) == []
    assert edge_problems(cast(ServiceDefinition, {"proxy": {"certificates": ""}})) == []
    assert edge_problems(cast(ServiceDefinition, {"proxy": None})) == []
