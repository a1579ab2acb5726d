"""The rendered edge on this machine: the real HAProxy with the plan's configuration, on ports of the tests'."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hostctl.edge_socket import EdgeSocket, until
from plan.render import definitions, host_files
from tests import packages
from tests.plan.stacks import Change, Raw, plan_of
from tests.ports import free_ports

STACK, NAME = "tencent", "blockchain-gateway"
HOST, GATEWAY, OUTSIDE = "127.0.0.1", "127.0.0.2", "127.0.0.9"
"""Addresses of this machine, in the place of loopback, of the services' network, of what the world asks."""
NEIGHBOUR, STRANGER = "127.0.0.17", "127.0.0.65"
"""Whence a container of the services' network asks, and one of another network."""


def one_service(raw: Raw) -> None:
    """A stack of one service, which is public; each gets its own, as changes behind this one change it."""
    raw["services"] = {NAME: {"port": 8411, "public": True}}
    del raw["editions"], raw["edition"]


def haproxy() -> str:
    """The program; installed where it may be."""
    reason = packages.ensure(packages.EDGE)
    found = packages.program("haproxy")
    assert found is not None, reason
    return found


def make_certificate(folder: Path) -> None:
    """What a team puts on its server: a certificate and its key in one file."""
    key, certificate = folder / "key", folder / "site.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv = [*make, "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    certificate.write_text(certificate.read_text() + key.read_text())
    key.unlink()


def there(text: str, certificates: Path, sockets: Path) -> str:
    """The configuration with this machine's folders in the place of the container's."""
    return text.replace("crt /tls", f"crt {certificates}").replace("/run/edge/", f"{sockets}/")


@dataclass
class Answer:
    """What was answered."""

    status: int
    text: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the service got, where it was the service that answered."""
        return json.loads(self.text)


class Service(BaseHTTPRequestHandler):
    """A service that says which headers it got, after as many seconds as its path says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path != "/health":
            time.sleep(float(self.path[1:] or 0))
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@dataclass
class Running:
    """An edge that runs, with one service behind it."""

    process: subprocess.Popen[bytes]
    ports: Mapping[str, int]
    """Of the edge's own, of the service's, of TLS, of ACME."""
    sockets: Path
    held: list[socket.socket] = field(default_factory=list[socket.socket])

    def ask(
        self,
        what: str,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        to: str = HOST,
        source: str = HOST,
        seconds: float = 10,
    ) -> Answer:
        """One request on a connection of its own; OSError or HTTPException where nothing answers."""
        where = (to, self.ports[what], seconds)
        if what == "tls":
            context = ssl._create_unverified_context()
            asked: http.client.HTTPConnection = http.client.HTTPSConnection(
                *where[:2], timeout=seconds, source_address=(source, 0), context=context
            )
        else:
            asked = http.client.HTTPConnection(*where[:2], timeout=seconds, source_address=(source, 0))
        try:
            asked.request("GET", path, headers=dict(headers or {}))
            answer = asked.getresponse()
            return Answer(answer.status, answer.read().decode())
        finally:
            asked.close()

    def hold(self, what: str, count: int) -> None:
        """Half a request on each of so many connections from outside."""
        for _ in range(count):
            with contextlib.suppress(OSError):  # refused already
                one = socket.create_connection((OUTSIDE, self.ports[what]), timeout=5)
                self.held.append(one)
                one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Half:")

    def reload(self) -> None:
        """Has it read its file again, as hostctl does."""
        asked = EdgeSocket(self.sockets / "stats.sock")
        before = asked.worker()
        self.process.send_signal(signal.SIGUSR2)
        assert until(lambda: asked.worker() not in (0, before), 20)


def configuration(ports: Mapping[str, int], places: tuple[int, int], without: str, *changes: Change) -> str:
    """The edge's file for one service, with this machine's ports and addresses in it."""
    plan = plan_of(STACK, one_service, *changes)
    text = host_files(plan)["edge/haproxy.cfg"]
    if without:
        parts = definitions(plan)[f"service/{without}"]["parts"]
        (own,) = [part["text"] for part in parts if part["file"] == "edge/haproxy.cfg"]
        text = text.replace(own, "")
    moved = {
        "bind 127.0.0.1:8419": f"bind {HOST}:{ports['own']}",
        "172.28.84.1:8411": f"{GATEWAY}:{ports['plain']}",
        "127.0.0.1:8411": f"{HOST}:{ports['plain']}",
        "0.0.0.0:8411": f"0.0.0.0:{ports['plain']}",
        "0.0.0.0:443": f"0.0.0.0:{ports['tls']}",
        "0.0.0.0:80\n": f"0.0.0.0:{ports['acme']}\n",
        "server a 172.28.84.1:16822": f"server a {HOST}:{places[0]}",
        "server b 172.28.84.1:16823": f"server b {HOST}:{places[1]}",
        # All who ask here are local (tests/host/test_edge_reach.py has others).
        "src 127.0.0.0/8 172.28.84.0/24 } || { src_is_local }": f"src {HOST} {GATEWAY} {NEIGHBOUR}/28 }}",
        "timeout http-request 10s": "timeout http-request 2s",
        "    user haproxy\n    group haproxy\n": "",
    }
    for old, new in moved.items():
        text = text.replace(old, new)
    assert "172.28" not in text
    return text


@contextlib.contextmanager
def run(
    folder: Path, *changes: Change, certificates: Path = Path(), without: str = "", serve: bool = True
) -> Iterator[Running]:
    """The edge of one service, which runs unless `serve` says otherwise; `without` its section where that is named.

    Half a request has two seconds there, not ten.
    """
    own, plain, tls, acme, first, second = free_ports(6)
    ports = {"own": own, "plain": plain, "tls": tls, "acme": acme}
    file = folder / "haproxy.cfg"
    file.write_text(there(configuration(ports, (first, second), without, *changes), certificates, folder))
    server = ThreadingHTTPServer((HOST, first), Service, bind_and_activate=serve)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    if serve:
        thread.start()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([haproxy(), "-W", "-db", "-f", str(file)], stdout=log, stderr=log)
        running = Running(process, ports, folder)
        try:
            until_it_listens(own)
            yield running
        finally:
            for one in running.held:
                one.close()
            process.terminate()
            process.wait(timeout=30)
            if serve:
                server.shutdown()
            server.server_close()


def until_it_listens(port: int) -> None:
    """Waits for somebody on a port of this machine."""

    def listens() -> bool:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            return False
        return True

    assert until(listens, 20)
