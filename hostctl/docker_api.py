"""Docker's own API over its socket: a few milliseconds a question, where a process of its client costs fifty.

What changes services goes through `docker-compose` (P7); this reads, and does what compose can't: by labels, never by
name patterns (D5).
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any, Dict, List, Mapping, Optional
from urllib.parse import quote, urlencode

from hostctl.environment import outside_environment
from hostctl.errors import HostctlError

SOCKET = "/var/run/docker.sock"
SECONDS = 60.0
_FRAME_HEADER = 8


class DockerMissing(HostctlError):
    """Nothing answers on Docker's socket."""


class DockerRefused(HostctlError):
    """Docker answered that it won't, or can't."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class DockerApi:
    """One Docker daemon. Every call is a connection of its own, so threads may share this."""

    def __init__(self, path: Optional[str] = None) -> None:
        self.path = path or socket_path()

    def get(self, path: str, **query: Any) -> Any:
        """What it answers, as JSON."""
        return json.loads(self._call("GET", path, query) or b"null")

    def post(self, path: str, body: Optional[Mapping[str, Any]] = None, seconds: float = SECONDS, **query: Any) -> Any:
        """Asks for a change; gives the answer's JSON, None when it has none."""
        answer = self._call("POST", path, query, body, seconds)
        return json.loads(answer) if answer.strip() else None

    def delete(self, path: str, **query: Any) -> None:
        """Takes something away."""
        self._call("DELETE", path, query)

    def containers(self, labels: Optional[Mapping[str, str]] = None) -> List[Dict[str, Any]]:
        """All containers with these labels, running or not; all there are without any."""
        wanted = ["%s=%s" % pair for pair in (labels or {}).items()]
        return self.get("/containers/json", all=1, filters=json.dumps({"label": wanted}))

    def inspect(self, container: str) -> Optional[Dict[str, Any]]:
        """One container by its id or exact name; None when there is none."""
        return self._or_none("/containers/%s/json" % quote(container, safe=""))

    def image(self, name: str) -> Optional[Dict[str, Any]]:
        """One image by its name or id; None when it isn't here."""
        return self._or_none("/images/%s/json" % quote(name, safe="/:@"))

    def network(self, name: str) -> Optional[Dict[str, Any]]:
        """One network by its exact name; None when there is none."""
        found = self._or_none("/networks/%s" % quote(name, safe=""))
        return found if found is not None and found.get("Name") == name else None

    def logs(self, container: str, lines: int, since: int = 0) -> List[str]:
        """The last lines of a container's output, both streams in their order."""
        query = {"stdout": 1, "stderr": 1, "tail": lines, "since": since}
        raw = self._call("GET", "/containers/%s/logs" % quote(container, safe=""), query)
        return demultiplexed(raw).decode("utf-8", "replace").splitlines()[-lines:]

    def _or_none(self, path: str) -> Optional[Dict[str, Any]]:
        try:
            return self.get(path)
        except DockerRefused as error:
            if error.status == 404:
                return None
            raise

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Optional[Mapping[str, Any]] = None,
        seconds: float = SECONDS,
    ) -> bytes:
        connection = UnixConnection(self.path, seconds)
        headers = {"Host": "docker"}
        text = None
        if body is not None:
            text, headers["Content-Type"] = json.dumps(body), "application/json"
        try:
            connection.request(method, path + ("?" + urlencode(query) if query else ""), text, headers)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DockerMissing("Docker doesn't answer on %s: %s" % (self.path, reason)) from None
        finally:
            connection.close()
        if answer.status >= 400:
            raise DockerRefused(answer.status, "Docker: %s" % _message(data, answer.reason))
        return data


def client_environment() -> Dict[str, str]:
    """For Docker's own clients: the daemon that hostctl itself asks, whatever Docker's context says."""
    return {**outside_environment(), "DOCKER_HOST": "unix://" + socket_path()}


def socket_path() -> str:
    """Where Docker's client looks on this machine."""
    given = os.environ.get("DOCKER_HOST", "")
    return given[len("unix://") :] if given.startswith("unix://") else SOCKET


def demultiplexed(raw: bytes) -> bytes:
    """A log without the frames' headers (a stream's number, three zeros, a length); a terminal's log has none."""
    text: List[bytes] = []
    at = 0
    while at + _FRAME_HEADER <= len(raw):
        header = raw[at : at + _FRAME_HEADER]
        if header[0] > 2 or header[1:4] != b"\0\0\0":
            return raw
        end = at + _FRAME_HEADER + int.from_bytes(header[4:], "big")
        text.append(raw[at + _FRAME_HEADER : end])
        at = end
    return b"".join(text)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _message(data: bytes, reason: str) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return reason
