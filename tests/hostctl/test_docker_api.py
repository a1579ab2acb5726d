"""Docker's API over its socket, against a small server of our own on a real one."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostctl import docker_api
from hostctl.docker_api import DockerApi, DockerMissing, DockerRefused

ANSWERS: dict[str, tuple[int, Any]] = {
    "/containers/json": (200, [{"Id": "abc"}]),
    "/containers/there/json": (200, {"Id": "abc"}),
    "/containers/none/json": (404, {"message": "No such container: none"}),
    "/networks/blockchain-tencent": (200, {"Name": "blockchain-tencent"}),
    "/networks/abc": (200, {"Name": "another that is found by its id"}),
    "/images/a/b:1/json": (200, {"Id": "sha256:1"}),
    "/containers/x/stop": (304, b""),
    "/broken": (500, b"<html>"),
    "/containers/there/logs": (200, b"\1\0\0\0\0\0\0\4out\n\2\0\0\0\0\0\0\4err\n"),
}


class Handler(BaseHTTPRequestHandler):
    asked: list[str]

    def _answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")  # type: ignore[attr-defined]
        status, value = ANSWERS.get(self.path.split("?")[0], (404, {"message": "page not found"}))
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if status != 304:
            self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _answer

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def api(tmp_path: Path) -> Iterator[DockerApi]:
    server = socketserver.ThreadingUnixStreamServer(str(tmp_path / "docker.sock"), Handler)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made = DockerApi(str(tmp_path / "docker.sock"))
    made.asked = server.asked  # type: ignore[attr-defined]
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_there_and_what_is_not(api: DockerApi) -> None:
    assert api.inspect("there") == {"Id": "abc"}
    assert api.inspect("none") is None
    assert api.image("a/b:1") == {"Id": "sha256:1"}
    assert api.network("blockchain-tencent") == {"Name": "blockchain-tencent"}
    assert api.network("abc") is None  # Docker takes the beginning of an id for a name
    assert api.post("/containers/x/stop", t=3) is None  # 304: it was stopped already


def test_containers_are_asked_for_by_labels(api: DockerApi) -> None:
    assert api.containers({"blockchain-dao.stack": "tencent"}) == [{"Id": "abc"}]
    assert api.asked == [  # type: ignore[attr-defined]
        "GET /containers/json?all=1&filters=%7B%22label%22%3A+%5B%22blockchain-dao.stack%3Dtencent%22%5D%7D"
    ]


def test_a_refusal_has_dockers_words_and_status(api: DockerApi) -> None:
    with pytest.raises(DockerRefused, match="Docker: page not found") as refused:
        api.get("/nothing")
    assert refused.value.status == 404
    with pytest.raises(DockerRefused, match="Internal Server Error"):
        api.get("/broken")


def test_a_log_is_its_lines(api: DockerApi) -> None:
    assert api.logs("there", 10) == ["out", "err"]
    assert api.logs("there", 1) == ["err"]


def test_no_docker_is_one_clear_error(tmp_path: Path) -> None:
    api = DockerApi(str(tmp_path / "none.sock"))
    with pytest.raises(DockerMissing, match=r"Docker doesn't answer on .*none\.sock: No such file"):
        api.get("/containers/json")


def test_the_socket_is_where_dockers_client_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert docker_api.socket_path() == "/var/run/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/1/docker.sock")
    assert docker_api.socket_path() == "/run/user/1/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", "tcp://1.2.3.4:2375")  # never another machine's
    assert docker_api.socket_path() == "/var/run/docker.sock"


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=6))
def test_frames_are_joined_in_their_order(frames: list[tuple[int, bytes]]) -> None:
    raw = b"".join(bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data for stream, data in frames)
    assert docker_api.demultiplexed(raw) == b"".join(data for _, data in frames)


def test_a_terminals_log_has_no_frames() -> None:
    text = b"plain text of a container with a terminal\r\n"
    assert docker_api.demultiplexed(text) == text
