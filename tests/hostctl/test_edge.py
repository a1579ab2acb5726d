"""The edge's socket, its configuration, and the edge's own container: against a socket that speaks as HAProxy does."""

from __future__ import annotations

import errno
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from hostctl import edge as edge_module
from hostctl.compose_containers import Containers
from hostctl.docker_api import DockerRefused
from hostctl.edge import EDGE, FILE, SOCKET, Edge, reason_of
from hostctl.edge_socket import EdgeSilent, EdgeSocket
from hostctl.errors import HostctlError
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
        self.takes, self.dies = True, False
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
        if self.dies:
            raise KeyboardInterrupt
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


# --- what goes wrong ---


def test_one_that_docker_started_and_that_takes_nothing_is_not_well(place: Place) -> None:
    """It read a former file at its own start, and nothing is on record of that one."""
    place.write("one\n")
    place.edge.await_started()
    place.docker.there[place.id]["State"]["StartedAt"] += "+"
    place.takes = False
    place.write("two\n")
    assert place.edge.load() != ""
    assert place.edge.differs() == "it has not loaded edge/haproxy.cfg as it is now"
    place.takes = True
    assert (place.edge.load(), place.edge.differs()) == ("", "")


@pytest.mark.parametrize(("state", "trouble"), [("running", "does not answer on its socket"), ("exited", "ended")])
def test_one_that_does_not_start_says_why(
    place: Place, monkeypatch: pytest.MonkeyPatch, state: str, trouble: str
) -> None:
    place.write("one\n")
    place.haproxy.answers.clear()
    place.docker.there[place.id]["State"]["Status"] = state
    assert place.edge.await_started() == f"the edge {trouble}"
    place.docker.there[place.id]["Logs"] = ["[ALERT] (1) : Starting proxy x: cannot bind socket [0.0.0.0:8401]"]
    said = f"the edge {trouble}: Starting proxy x: cannot bind socket [0.0.0.0:8401]"
    assert place.edge.await_started() == said
    monkeypatch.setattr(place.docker, "logs", refusing(DockerRefused(500, "its log is gone")))
    assert place.edge.await_started() == f"the edge {trouble}"


def test_one_that_ends_while_it_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write("one\n")
    monkeypatch.setattr(place.docker, "post", refusing(DockerRefused(409, "container is not running")))
    assert place.edge.load() == "the edge can't be told to read its new configuration: container is not running"


def test_one_that_is_silent_has_nobody_behind_it(place: Place) -> None:
    place.haproxy.shutdown()
    place.haproxy.server_close()
    (place.layout.root / SOCKET).unlink()
    assert place.edge.running() is not None
    assert place.edge.services() == set()
    assert place.edge.silent()


def test_a_full_disk_is_no_reason_to_forget_that_it_has_loaded(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write("one\n")
    place.edge.await_started()
    place.write("two\n")
    monkeypatch.setattr(edge_module, "write_json", refusing(OSError(errno.ENOSPC, "No space left on device")))
    assert (place.edge.load(), place.edge.differs()) == ("", "")
    assert "No space left on device; which configuration the edge has is not written down" in capsys.readouterr().err
    assert (place.edge.load(), place.signals) == ("", ["SIGUSR2"] * 2)  # to be on the safe side


def test_folders_that_cant_be_made_are_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.edge.make_ready()
    assert [(place.layout.root / name).stat().st_mode & 0o777 for name in ("run/edge", "edge")] == [0o700, 0o755]
    full = OSError(errno.ENOSPC, "No space left on device", "/x/run/edge")
    monkeypatch.setattr(edge_module, "make_folder", refusing(full))
    with pytest.raises(HostctlError, match="the edge's folders can't be made: /x/run/edge: No space left on device"):
        place.edge.make_ready()


def refusing(error: Exception) -> Any:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error

    return refuse


# --- asking HAProxy itself, apart ---

BLOCK = """\
  edge:
    image: "team/edge:2"
    volumes:
      - ./edge:/edge:ro
      - /etc/tls, of ours:/tls:ro
"""


class Run:
    """`docker run`: what it was asked, and what it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.argv: list[str] = []
        self.more: dict[str, Any] = {}
        self.answer: Exception | tuple[int, str] = (0, "")
        monkeypatch.setattr(edge_module.subprocess, "run", self._run)

    def _run(self, argv: list[str], **more: Any) -> Any:
        self.argv, self.more = argv, more
        if isinstance(self.answer, Exception):
            raise self.answer
        return subprocess.CompletedProcess(argv, self.answer[0], self.answer[1].encode())


def test_the_check_makes_no_folder_that_is_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    place.docker.images["team/edge:2"] = {"Config": {}}
    assert place.edge.problem("global\n", BLOCK) is None
    mounts = [run.argv[at + 1] for at, word in enumerate(run.argv) if word == "--mount"]
    assert mounts == ['type=bind,"source=/etc/tls, of ours",target=/tls,readonly']
    assert not {"-v", "--volume"} & set(run.argv)
    assert run.more["start_new_session"]  # Ctrl-C is hostctl's to hear
    # What Docker itself says is told: HAProxy was not asked.
    said = "docker: Error response from daemon:\n  bind source path does not exist: /etc/tls\n"
    run.answer = (125, said + "\nRun 'docker run --help' for more information\n")
    assert place.edge.problem("global\n", BLOCK) == (
        "the edge's configuration can't be checked: "
        "docker: Error response from daemon: bind source path does not exist: /etc/tls"
    )
    run.answer = (1, "[ALERT]    (1) : config : parsing [/dev/stdin:1] : unknown keyword 'globl'\n")
    assert (
        place.edge.problem("globl\n", BLOCK)
        == "the edge would not take edge/haproxy.cfg: line 1: unknown keyword 'globl'"
    )


def test_a_check_that_does_not_end_or_start(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    place.docker.images["team/edge:2"] = {"Config": {}}
    for error, said in (
        (subprocess.TimeoutExpired(["docker", "run"], 60), "Docker did not do it within 60 s"),
        (FileNotFoundError(2, "No such file or directory", "docker"), "docker: No such file or directory"),
    ):
        run.answer = error
        assert place.edge.problem("global\n", BLOCK) == f"the edge's configuration can't be checked: {said}"


@pytest.mark.parametrize("killed", [True, False])
def test_what_it_was_told_to_read_and_may_have_is_not_forgotten(place: Place, killed: bool) -> None:
    """Killed behind the signal, or too slow to be waited for: then the former file is put back."""
    place.write("one\n")
    assert place.edge.await_started() == ""
    place.write("two\n")
    if killed:
        place.dies = True
        with pytest.raises(KeyboardInterrupt):
            place.edge.load()
        place.dies = False
    else:
        place.takes = False
        assert "did not take" in place.edge.load()
        place.takes = True
    place.write("one\n")
    assert place.edge.differs() == "it has not loaded edge/haproxy.cfg as it is now"
    told = len(place.signals)
    assert (place.edge.load(), len(place.signals)) == ("", told + 1)
    assert place.edge.differs() == ""


def test_a_silent_one_is_not_loaded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write("one\n")
    place.edge.await_started()
    monkeypatch.setattr(edge_module, "SILENT_SECONDS", 0.1)
    del place.haproxy.answers["show info"]
    assert place.edge.load() == "the edge does not answer on its socket"
