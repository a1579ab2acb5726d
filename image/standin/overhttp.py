"""Logging in to the databases that speak HTTP: Neo4j, Elasticsearch, Weaviate. None of them needs a driver."""

import base64
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from standin.target import Target
from standin.trouble import Refused, missing

#: Most bytes taken of an answer.
MAX_ANSWER = 65_536

Fields = dict[str, object]


class _Asked:
    """One connection to one server of one kind."""

    def __init__(self, target: Target, timeout: float) -> None:
        self._kind = target.kind
        self._connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout)

    def ask(self, method: str, path: str, login: str = "", question: Fields | None = None) -> tuple[int, Fields]:
        """Status and body of one request; raises `Missing` for whatever isn't a JSON object over HTTP."""
        headers = {"Accept": "application/json"}
        if login:
            headers["Authorization"] = login
        if question is not None:
            headers["Content-Type"] = "application/json"
        body = None if question is None else json.dumps(question)
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            answer: object = json.loads(response.read(MAX_ANSWER) or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise missing(error, self._kind) from error
        if not isinstance(answer, dict):
            raise self.stranger()
        return response.status, cast(Fields, answer)

    def stranger(self) -> Exception:
        """It speaks HTTP, but is no database of this kind."""
        return missing(TypeError("another kind of answer"), self._kind)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _asked(target: Target, timeout: float) -> Iterator[_Asked]:
    connection = _Asked(target, timeout)
    try:
        yield connection
    finally:
        connection.close()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def neo4j(target: Target, timeout: float) -> str:
    """Neo4j's version, after a login and a query."""
    with _asked(target, timeout) as server:
        _, about = server.ask("GET", "/")
        version = about.get("neo4j_version")
        if not isinstance(version, str):
            raise server.stranger()
        path, question = _neo4j_query(about, target.database or "neo4j")
        login = _basic(target.user or "neo4j", target.password)
        status, answer = server.ask("POST", path, login, question)
    errors = cast(list[Fields], answer.get("errors") or [])
    if status >= 400 or errors:
        raise Refused(str(errors[0].get("message", "")) if errors else f"HTTP status {status}")
    return version


def _neo4j_query(about: Mapping[str, object], database: str) -> tuple[str, Fields]:
    """The path and body of a query: the transaction API, or the query API where a server has only that."""
    if "transaction" in about or "query" not in about:
        return f"/db/{database}/tx/commit", {"statements": [{"statement": "RETURN 1"}]}
    return f"/db/{database}/query/v2", {"statement": "RETURN 1"}


def elasticsearch(target: Target, timeout: float) -> str:
    """Elasticsearch's version, after a login (where it asks for one) and a query."""
    login = _basic(target.user or "elastic", target.password) if target.password else ""
    with _asked(target, timeout) as server:
        status, about = server.ask("GET", "/", login)
        if status in (401, 403):
            raise Refused(_elastic_reason(about) or f"HTTP status {status}")
        version = about.get("version")
        number = cast(Fields, version).get("number") if isinstance(version, dict) else None
        if not isinstance(number, str):
            raise server.stranger()
        status, answer = server.ask("GET", "/_cluster/health", login)
    if status >= 400 or "status" not in answer:
        raise Refused(_elastic_reason(answer) or f"HTTP status {status}")
    return number


def _elastic_reason(answer: Fields) -> str:
    error = answer.get("error")
    return str(cast(Fields, error).get("reason", "")) if isinstance(error, dict) else str(error or "")


def weaviate(target: Target, timeout: float) -> str:
    """Weaviate's version, after a login (where a key is given) and a query."""
    login = f"Bearer {target.password}" if target.password else ""
    with _asked(target, timeout) as server:
        status, about = server.ask("GET", "/v1/meta", login)
        if status in (401, 403):
            raise Refused(_weaviate_reason(about) or f"HTTP status {status}")
        version = about.get("version")
        if status >= 400 or not isinstance(version, str):
            raise server.stranger()
        status, answer = server.ask("GET", "/v1/schema", login)
    if status >= 400:
        raise Refused(_weaviate_reason(answer) or f"HTTP status {status}")
    return version


def _weaviate_reason(answer: Fields) -> str:
    errors = answer.get("error")
    first: object = cast(list[object], errors)[0] if isinstance(errors, list) and errors else None
    if isinstance(first, dict):
        return str(cast(Fields, first).get("message", ""))
    return str(answer.get("message") or "")
