"""`python -m standin.dbcheck` without a database: what strangers answer, and bad input (contracts.md, "Database").

With real databases: tests/host/test_standin_databases.py.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from standin import databases, dbcheck
from standin.databases import Answer, Target
from tests.image.service import free_port, run

KINDS = ("mysql", "mariadb", "redis", "postgres", "neo4j", "elasticsearch", "weaviate")


def check(fields: dict[str, object]) -> dict[str, Any]:
    done = run("standin.dbcheck", [], json.dumps(fields).encode(), {})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\n") == 1
    return json.loads(done.stdout)


@contextlib.contextmanager
def stranger(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does `answer` with each connection; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def greets(text: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(text)
        connection.recv(1000)

    return answer


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_there(kind: str) -> None:
    fields: dict[str, object] = {"kind": kind, "host": "127.0.0.1", "port": free_port(), "password": "geheim-1234"}
    assert check(fields) == {"ok": False, "reason": "missing", "detail": "connection refused"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n",
        b"-ERR what\r\n" * 3,
        b"\x00" * 100,
        bytes(range(256)) * 4,
        "道".encode() * 50,
        b"N" + b"E\x00\x00\x00\x08XXXX",
    ],
)
def test_a_stranger_is_no_database(kind: str, text: bytes) -> None:
    with stranger(greets(text)) as port:
        answer = databases.check(Target(kind, "127.0.0.1", port, "u", "geheim-1234"), 0.3)
    assert not answer.ok
    if not (kind == "redis" and text.startswith(b"-ERR")):  # that is what a Redis could say
        assert answer.reason == "missing"
    assert answer.detail
    assert answer.detail.isprintable()
    assert "geheim" not in answer.detail


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_says_nothing_or_hangs_up(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer = databases.check(Target(kind, "127.0.0.1", silent.getsockname()[1]), 0.3)
        assert answer == Answer(False, reason="missing", detail="timed out")
    with stranger(lambda connection: None) as port:
        answer = databases.check(Target(kind, "127.0.0.1", port), 2)
        assert (answer.ok, answer.reason) == (False, "missing")


def test_one_that_feeds_bytes_slowly_is_left_in_time() -> None:
    def drip(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"+")
            threading.Event().wait(0.1)

    with stranger(drip) as port:
        answer = dbcheck.check_in_time(Target("redis", "127.0.0.1", port), 1, 1.5)
    assert answer == Answer(False, reason="missing", detail="timed out")


def test_a_host_that_is_unknown() -> None:
    answer = check({"kind": "redis", "host": "no-such-host.invalid", "port": 6379})
    assert answer["reason"] == "missing"
    assert answer["detail"] in ("unknown host name", "timed out")  # a resolver without a network may take its time


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (b"", "stdin is not JSON"),
        (b"[]", "stdin is not a JSON object"),
        (b"{}", "port is not a whole number"),
        (b'{"kind":"oracle","host":"h","port":1}', "kind 'oracle' is unknown"),
        (b'{"kind":"redis","host":"","port":1}', "host is empty"),
        (b'{"kind":"redis","host":"h","port":0}', "port 0 is not between 1 and 65535"),
        (b'{"kind":"redis","host":"h","port":true}', "port is not a whole number"),
        (b'{"kind":"redis","host":"h","port":1,"password":5}', "password is not a text"),
        (b'{"kind":"redis","host":"h","port":1,"database":"x"}', "database 'x' is not one of redis's numbers"),
        (b'{"kind":"neo4j","host":"h","port":1,"database":"a/b"}', "database 'a/b' is not a plain name"),
    ],
)
def test_bad_input(stdin: bytes, message: str) -> None:
    done = run("standin.dbcheck", [], stdin, {})
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"standin.dbcheck: {message}")
    assert done.stderr.count(b"\n") == 1


class _Neo4j(http.server.BaseHTTPRequestHandler):
    """Answers as Neo4j's documentation says; Debian has no package of it."""

    about: ClassVar[dict[str, str]] = {"transaction": "http://x/db/{databaseName}/tx", "neo4j_version": "5.26.0"}
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200, self.about)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != "Basic " + base64.b64encode(b"neo4j:geheim").decode():
            error = {"code": "Neo.ClientError.Security.Unauthorized", "message": "Invalid credential."}
            self._answer(401, {"errors": [error]})
        elif self.path == "/db/neo4j/tx/commit" and "transaction" in self.about:
            assert body == {"statements": [{"statement": "RETURN 1"}]}
            self._answer(200, {"results": [], "errors": []})
        elif self.path == "/db/neo4j/query/v2":
            assert body == {"statement": "RETURN 1"}
            self._answer(202, {"data": {}})
        else:
            self._answer(404, {"errors": [{"code": "x", "message": "Graph not found:\nnobody"}]})

    def _answer(self, status: int, fields: object) -> None:
        text = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    "about", [_Neo4j.about, {"query": "http://x/db/{databaseName}/query/v2", "neo4j_version": "2026.1.0"}]
)
def test_neo4j(about: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Neo4j, "about", about)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Neo4j)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        port = server.server_address[1]
        assert databases.check(Target("neo4j", "127.0.0.1", port, password="geheim"), 5) == Answer(
            True, version=about["neo4j_version"]
        )
        refused = databases.check(Target("neo4j", "127.0.0.1", port, password="wrong"), 5)
        assert refused == Answer(False, reason="refused", detail="Invalid credential.")
        other = databases.check(Target("neo4j", "127.0.0.1", port, password="geheim", database="nobody"), 5)
        assert other == Answer(False, reason="refused", detail="Graph not found: nobody")
    finally:
        server.shutdown()
        server.server_close()


class _Search(http.server.BaseHTTPRequestHandler):
    """Elasticsearch and Weaviate, as their documentation says; Debian has no package of them."""

    login: ClassVar[str] = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        answers: dict[str, object] = {
            "/": {"version": {"number": "8.15.0"}, "tagline": "You Know, for Search"},
            "/_cluster/health": {"status": "green"},
            "/v1/meta": {"version": "1.25.0"},
            "/v1/schema": {"classes": []},
        }
        if self.login and self.headers["Authorization"] != self.login:
            elastic = {"error": {"reason": "missing authentication credentials"}}
            weaviate = {"error": [{"message": "anonymous access not enabled"}]}
            self._answer(401, weaviate if self.path.startswith("/v1") else elastic)
        elif self.path in answers:
            self._answer(200, answers[self.path])
        else:
            self._answer(404, {})

    _answer = _Neo4j._answer
    log_message = _Neo4j.log_message


@pytest.mark.parametrize(
    ("kind", "version", "login", "refused"),
    [
        (
            "elasticsearch",
            "8.15.0",
            "Basic " + base64.b64encode(b"elastic:geheim").decode(),
            "missing authentication credentials",
        ),
        ("weaviate", "1.25.0", "Bearer geheim", "anonymous access not enabled"),
    ],
)
def test_search_servers(kind: str, version: str, login: str, refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Search)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        port = server.server_address[1]
        other = {"elasticsearch": "neo4j", "weaviate": "neo4j"}[kind]
        assert databases.check(Target(kind, "127.0.0.1", port), 5) == Answer(True, version=version)
        assert databases.check(Target(other, "127.0.0.1", port), 5).reason == "missing"
        monkeypatch.setattr(_Search, "login", login)
        assert databases.check(Target(kind, "127.0.0.1", port, password="geheim"), 5).ok
        for password in ("", "wrong"):
            answer = databases.check(Target(kind, "127.0.0.1", port, password=password), 5)
            assert answer == Answer(False, reason="refused", detail=refused)
    finally:
        server.shutdown()
        server.server_close()
