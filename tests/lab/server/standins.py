"""Stand-ins for what runs on the servers already and isn't ours: `standins.py NAME PORT…`, one process each.

They answer what a check of that thing asks, and no more: Neo4j a login and a query over HTTP and Bolt's greeting,
Elasticsearch and Weaviate who they are, Consul its agent's registry, a mirror its files, all others their health. Each
says that it is a stand-in.
"""

import base64
import http.server
import json
import socketserver
import sys
import threading
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

PASSWORDS = Path("/etc/lab.json")
CONSUL = Path("/var/lib/lab-consul.json")
MIRROR = "/srv/mirror"
BOLT_MAGIC = b"\x60\x60\xb0\x17"
BOLT_4_4 = b"\x00\x00\x04\x04"


class Answer(http.server.BaseHTTPRequestHandler):
    """One request; `routes` says what is answered: function(method, path, query, headers, body) -> (code, value)."""

    protocol_version = "HTTP/1.1"
    routes = None

    def _answer(self):
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        code, value = self.routes(self.command, unquote(url.path), parse_qs(url.query), self.headers, body)
        data = b"" if value is None else (json.dumps(value) + "\n").encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Stand-In", "true")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer

    def log_message(self, *words):
        """Nothing: a log of health checks helps nobody."""


class Listener(socketserver.ThreadingTCPServer):
    """On every address, as such servers have it."""

    allow_reuse_address = True
    daemon_threads = True


class HttpListener(http.server.ThreadingHTTPServer):
    """A burst of checks must not be refused."""

    request_queue_size = 64


class Silent(socketserver.BaseRequestHandler):
    """A port of a protocol that nobody here speaks: it accepts, and hangs up when the other side does."""

    def handle(self):
        while self.request.recv(4096):
            pass


class Bolt(socketserver.StreamRequestHandler):
    """Bolt's greeting, version 4.4, and whether HELLO brings the right login."""

    def handle(self):
        offer = self.rfile.read(20)
        if offer[:4] != BOLT_MAGIC:
            return
        self.wfile.write(BOLT_4_4)
        size = int.from_bytes(self.rfile.read(2), "big")
        hello = self.rfile.read(size + 2)
        good = b"neo4j" in hello and password("neo4j").encode() in hello
        # PackStream: a structure of one map; SUCCESS {server: "Neo4j/5.26.0"} or FAILURE {code: "…Unauthorized"}.
        words = (b"server", b"Neo4j/5.26.0") if good else (b"code", b"Neo.ClientError.Security.Unauthorized")
        pairs = b"".join(b"\xd0" + bytes([len(word)]) + word for word in words)
        message = (b"\xb1\x70" if good else b"\xb1\x7f") + b"\xa1" + pairs
        self.wfile.write(len(message).to_bytes(2, "big") + message + b"\x00\x00")


def password(name):
    """The administrator's password that the driver chose."""
    return json.loads(PASSWORDS.read_text())["passwords"][name]


def health(name):
    """Anything that is asked is well."""

    def routes(method, path, query, headers, body):
        return 200, {"stand_in": True, "name": name, "status": "ok"}

    return routes


def neo4j(method, path, query, headers, body):
    """The discovery document, and one query with a login."""
    if method == "GET" and path == "/":
        return 200, {"neo4j_version": "5.26.0", "neo4j_edition": "community", "transaction": "/db/{databaseName}/tx"}
    if method != "POST" or not path.endswith("/tx/commit"):
        return 404, {"errors": [{"code": "Neo.ClientError.Request.Invalid", "message": "no such path"}]}
    login = base64.b64encode(("neo4j:" + password("neo4j")).encode()).decode()
    if headers.get("Authorization") != "Basic " + login:
        words = "Invalid username or password."
        return 401, {"errors": [{"code": "Neo.ClientError.Security.Unauthorized", "message": words}]}
    return 200, {"results": [{"columns": ["1"], "data": [{"row": [1]}]}], "errors": []}


def elasticsearch(method, path, query, headers, body):
    """Who it is, and that its cluster is well."""
    if path.startswith("/_cluster/health"):
        return 200, {"cluster_name": "lab", "status": "green", "number_of_nodes": 1}
    return 200, {"cluster_name": "lab", "version": {"number": "8.17.0"}, "tagline": "You Know, for Search"}


def weaviate(method, path, query, headers, body):
    """Who it is, and that it is ready."""
    return 200, {"hostname": "http://[::]:8080", "version": "1.28.0"} if path == "/v1/meta" else None


class Consul:
    """The agent's registry of services, kept on disk as the real agent keeps it."""

    def __init__(self):
        self.lock = threading.Lock()

    def _read(self):
        return json.loads(CONSUL.read_text()) if CONSUL.exists() else {}

    def _write(self, services):
        CONSUL.write_text(json.dumps(services))

    def routes(self, method, path, query, headers, body):
        """The part of Consul's HTTP API that registers, lists and finds services."""
        with self.lock:
            if method == "PUT":
                return self._put(path, body)
            if path == "/v1/agent/services":
                return 200, self._read()
            if path.startswith("/v1/agent/service/"):
                found = self._read().get(path.rsplit("/", 1)[1])
                return (200, found) if found else (404, {"error": "unknown service ID"})
            if path.startswith(("/v1/catalog/service/", "/v1/health/service/")):
                name = path.rsplit("/", 1)[1]
                return 200, [one for one in self._read().values() if one["Service"] == name]
            if path == "/v1/catalog/services":
                return 200, {one["Service"]: one["Tags"] for one in self._read().values()}
        return self._about(path)

    @staticmethod
    def _about(path):
        if path == "/v1/status/leader":
            return 200, "127.0.0.1:8300"
        if path == "/v1/agent/self":
            return 200, {
                "Config": {"NodeName": "lab", "Version": "1.20.0", "Server": True},
                "Meta": {"stand_in": "true"},
            }
        return 404, {"error": f"the stand-in for Consul has no {path}"}

    def _put(self, path, body):
        services = self._read()
        if path == "/v1/agent/service/register":
            asked = json.loads(body)
            if not asked.get("Name"):
                return 400, {"error": "Missing service name"}
            ident = asked.get("ID") or asked["Name"]
            services[ident] = {"ID": ident, "Service": asked["Name"], "Tags": asked.get("Tags") or [],
                               "Meta": asked.get("Meta") or {}, "Port": asked.get("Port", 0),
                               "Address": asked.get("Address", ""), "Check": asked.get("Check"),
                               "Checks": asked.get("Checks")}  # fmt: skip
        elif path.startswith("/v1/agent/service/deregister/"):
            if services.pop(path.rsplit("/", 1)[1], None) is None:
                return 404, {"error": "Unknown service ID"}
        else:
            return 404, {"error": "no such path"}
        self._write(services)
        return 200, None


# What answers on a thing's ports, by number where they differ; HTTP unless it is a socketserver's handler.
HTTP = {"neo4j": neo4j, "elasticsearch": elasticsearch, "weaviate": weaviate}
OTHER = {("neo4j", 1): Bolt, ("consul", 0): Silent, ("consul", 2): Silent}


def listener(name, index, port, consul):
    """The listening server for a thing's port number `index`."""
    if name == "mirror":
        return HttpListener(("0.0.0.0", port), partial(http.server.SimpleHTTPRequestHandler, directory=MIRROR))
    if (name, index) in OTHER:
        return Listener(("0.0.0.0", port), OTHER[name, index])
    routes = consul.routes if name == "consul" else HTTP.get(name) or health(name)
    handler = type("Routes", (Answer,), {"routes": staticmethod(routes)})
    return HttpListener(("0.0.0.0", port), handler)


def main(name, ports):
    """Listen on all ports until ended."""
    consul = Consul()
    servers = [listener(name, index, port, consul) for index, port in enumerate(ports)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], [int(word) for word in sys.argv[2:]])
