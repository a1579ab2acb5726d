"""Docker's long answers: pulling, loading and building, each a stream of JSON messages that ends in a word or an error.

Everything goes through the daemon's socket and nothing through its client: no password ever lies in a file of the
client's or stands in its arguments (D6), and a body is sent as it arrives, never held in memory.
"""

from __future__ import annotations

import http.client
import json
from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, cast
from urllib.parse import urlencode

from hostctl.docker_api import DockerApi, DockerMissing, DockerRefused, UnixConnection

SILENCE_SECONDS = 900.0
"""A daemon that says nothing for so long hangs: a large layer is unpacked in less."""
BROKEN_OFF = 0
"""The status of a refusal that came after the answer had begun."""


def messages(
    api: DockerApi,
    path: str,
    query: Mapping[str, Any],
    headers: Optional[Mapping[str, str]] = None,
    body: Optional[Iterable[bytes]] = None,
) -> Iterator[Dict[str, Any]]:
    """Posts, and gives each message of the answer; raises DockerRefused with the daemon's own words.

    When `body` raises, the connection is closed before the body's end: the daemon throws away what it got.
    """
    connection = UnixConnection(api.path, SILENCE_SECONDS)
    try:
        answer = _answer(connection, path + "?" + urlencode(query), dict(headers or {}), body)
        if answer.status >= 400:
            raise DockerRefused(answer.status, _said(answer.read(), answer.reason))
        for line in answer:
            if line.strip():
                yield _message(line)
    except (OSError, http.client.HTTPException) as error:
        raise DockerMissing("Docker on %s broke off: %s" % (api.path, _reason(error))) from None
    finally:
        connection.close()


def _answer(
    connection: UnixConnection, path: str, headers: Dict[str, str], body: Optional[Iterable[bytes]]
) -> http.client.HTTPResponse:
    headers["Host"] = "docker"
    if body is None:
        connection.request("POST", path, headers=headers)
        return connection.getresponse()
    headers.update({"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"})
    try:
        connection.request("POST", path, body, headers, encode_chunked=True)
    except (BrokenPipeError, ConnectionResetError) as error:
        # It answered before it had everything; what it said is worth more than the broken pipe.
        try:
            return connection.getresponse()
        except (OSError, http.client.HTTPException):
            raise error from None
    return connection.getresponse()


def _message(line: bytes) -> Dict[str, Any]:
    try:
        found = json.loads(line.decode("utf-8", "replace"))
    except ValueError:
        raise DockerRefused(BROKEN_OFF, "its answer is cut off") from None
    if not isinstance(found, dict):
        raise DockerRefused(BROKEN_OFF, "its answer is none")
    message = cast("Dict[str, Any]", found)
    if "error" in message:  # the stream had begun: the status said nothing yet
        raise DockerRefused(BROKEN_OFF, str(message["error"]))
    return message


def _said(data: bytes, reason: str) -> str:
    try:
        return str(json.loads(data.decode("utf-8", "replace"))["message"])
    except (ValueError, KeyError, TypeError):
        return reason


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
