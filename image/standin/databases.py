"""A real login and query on a database (P5, D16), by that database's own client.

A client is imported only when a database of its kind is asked for, because each takes memory (D14). No text
that leaves this module holds a password; texts are one line and the same from run to run, as they become
observed labels.
"""

import base64
import http.client
import importlib
import json
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol, cast

Reason = Literal["missing", "refused"]

#: Longest detail, in characters.
MAX_DETAIL = 200
#: Most bytes taken of an HTTP answer of Neo4j.
MAX_HTTP_ANSWER = 65_536


@dataclass(frozen=True, slots=True)
class Target:
    """Which database to log in to. An empty user or database means the usual one of that kind."""

    kind: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check found: `version` when it is ok; otherwise the reason and one line of detail."""

    ok: bool
    version: str = ""
    reason: Reason | None = None
    detail: str = ""


class _Missing(Exception):
    """Nothing there that speaks this protocol."""


class _Refused(Exception):
    """It answers, and doesn't let us in."""


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, at most `MAX_DETAIL` long."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:MAX_DETAIL]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


CLOSED = "connection closed"
_NETWORK: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "timed out"),
    (ConnectionRefusedError, "connection refused"),
    (socket.gaierror, "unknown host name"),
    (ssl.SSLError, "the TLS handshake failed"),
    (ConnectionError, CLOSED),
)


def network_detail(error: BaseException) -> str | None:
    """The network's trouble under a client's error, in words that never change; None if there is none."""
    for cause in _causes(error):
        for kind, words in _NETWORK:
            if isinstance(cause, kind):
                return words
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
            return os.strerror(cause.errno).lower()
    return None


def _missing(error: BaseException, kind: str) -> _Missing:
    """Why there is no database of `kind`, from its client's error.

    What a stranger does with a greeting that it doesn't understand is a matter of moments: it hangs up before or after
    its own first bytes have come. That is one answer here, because a label must not change by itself.
    """
    trouble = network_detail(error)
    if trouble is None or trouble == CLOSED:
        trouble = f"listens, but does not answer as {kind}"
    return _Missing(trouble)


def _encrypting() -> ssl.SSLContext:
    """TLS as the databases' own clients do it unasked: it encrypts, and trusts any certificate.

    Made here, because what PyMySQL and pg8000 make by default loads the machine's list of authorities (2 MB,
    15 ms) each time, to ignore it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# --- MySQL and MariaDB ---


class _Cursor(Protocol):
    def execute(self, query: str) -> int: ...
    def fetchone(self) -> tuple[object, ...] | None: ...


class _MysqlConnection(Protocol):  # PyMySQL has no types
    ctx: ssl.SSLContext
    ssl: bool

    def connect(self) -> None: ...
    def cursor(self) -> _Cursor: ...
    def close(self) -> None: ...


def _mysql(target: Target, timeout: float) -> str:
    pymysql = cast(Any, importlib.import_module("pymysql"))
    connection = cast(
        _MysqlConnection,
        pymysql.connect(
            host=target.host,
            port=target.port,
            user=target.user or "root",
            password=target.password.encode(),  # a str would be sent as latin-1, which not every password is
            database=target.database or None,
            connect_timeout=timeout,
            read_timeout=timeout,
            write_timeout=timeout,
            program_name="stand-in",
            ssl_disabled=True,
            defer_connect=True,
        ),
    )
    connection.ssl, connection.ctx = True, _encrypting()  # TLS where the server has it
    try:
        connection.connect()
        cursor = connection.cursor()
        cursor.execute("SELECT VERSION()")
        row = cursor.fetchone()
        connection.close()
    except pymysql.err.MySQLError as error:
        raise _mysql_trouble(error) from error
    except RuntimeError as error:  # a login method that needs a library which PyMySQL doesn't find
        raise _Refused("its login method needs TLS, which this server doesn't offer") from error
    return str(row[0]) if row else "unknown"


def _mysql_trouble(error: Exception) -> Exception:
    code: object = error.args[0] if error.args else 0
    # 2000 to 2999 are the client's own errors.
    if isinstance(code, int) and code > 0 and not 2000 <= code < 3000:
        return _Refused(str(error.args[1]) if len(error.args) > 1 else f"error {code}")
    return _missing(error, "mysql")


# --- Redis ---


def _redis(target: Target, timeout: float) -> str:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = redis.Redis(
        host=target.host,
        port=target.port,
        db=int(target.database or 0),
        username=target.user or None,
        password=target.password or None,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    try:
        # The cast, because its annotations are partly unknown.
        info = cast(Callable[[str], Mapping[str, object]], cast(Any, client).info)
        answer = info("server")
        return str(answer.get("redis_version", "unknown"))
    except redis.BusyLoadingError as error:  # a ConnectionError
        raise _Missing("redis is loading its data") from error
    except (redis.AuthenticationError, redis.MaxConnectionsError, redis.ResponseError) as error:
        raise _Refused(str(error)) from error  # an AuthenticationError is a ConnectionError too
    except redis.RedisError as error:
        raise _missing(error, "redis") from error
    finally:
        client.close()


# --- PostgreSQL ---


class _PostgresConnection(Protocol):  # pg8000 has no types
    def run(self, sql: str) -> list[list[object]]: ...
    def close(self) -> None: ...


def _postgres(target: Target, timeout: float) -> str:
    native = cast(Any, importlib.import_module("pg8000.native"))
    try:
        connection = _postgres_connection(native, target, timeout)
        rows = connection.run("SHOW server_version")
        connection.close()
    except native.DatabaseError as error:
        raise _postgres_trouble(error) from error
    except native.InterfaceError as error:
        raise _missing(error, "postgres") from error
    return str(rows[0][0])


def _postgres_connection(native: Any, target: Target, timeout: float) -> _PostgresConnection:
    connect = partial(
        native.Connection,
        target.user or "postgres",
        host=target.host,
        port=target.port,
        database=target.database or "postgres",
        password=target.password,  # an empty one too: for None pg8000 breaks where the server asks for one
        timeout=timeout,
        application_name="stand-in",
    )
    try:
        return cast(_PostgresConnection, connect(ssl_context=_encrypting()))
    except native.InterfaceError as error:
        if "refuses SSL" not in str(error):
            raise
        return cast(_PostgresConnection, connect(ssl_context=False))


def _postgres_trouble(error: Exception) -> Exception:
    parts: object = error.args[0] if error.args else {}
    fields = cast(dict[str, str], parts) if isinstance(parts, dict) else {}
    if fields.get("C") == "57P03":  # cannot_connect_now
        return _Missing(fields.get("M", "the database system is starting up"))
    return _Refused(fields.get("M", str(error)))


# --- Neo4j ---


def _neo4j(target: Target, timeout: float) -> str:
    connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout)
    try:
        _, about = _neo4j_call(connection, "GET", "/", {}, None)
        version = about.get("neo4j_version")
        if not isinstance(version, str):
            raise _missing(TypeError("no version"), "neo4j")
        login = base64.b64encode(f"{target.user or 'neo4j'}:{target.password}".encode()).decode("ascii")
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        path, body = _neo4j_query(about, target.database or "neo4j")
        status, answer = _neo4j_call(connection, "POST", path, headers, body)
    finally:
        connection.close()
    errors = cast(list[dict[str, object]], answer.get("errors") or [])
    if status >= 400 or errors:
        raise _Refused(str(errors[0].get("message", "")) if errors else f"HTTP status {status}")
    return version


def _neo4j_query(about: Mapping[str, object], database: str) -> tuple[str, str]:
    """The path and body of a query: the transaction API, or the query API where a server has only that."""
    if "transaction" in about or "query" not in about:
        return f"/db/{database}/tx/commit", json.dumps({"statements": [{"statement": "RETURN 1"}]})
    return f"/db/{database}/query/v2", json.dumps({"statement": "RETURN 1"})


def _neo4j_call(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], body: str | None
) -> tuple[int, dict[str, object]]:
    try:
        connection.request(method, path, body, {"Accept": "application/json", **headers})
        response = connection.getresponse()
        answer = json.loads(response.read(MAX_HTTP_ANSWER) or b"{}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _missing(error, "neo4j") from error
    if not isinstance(answer, dict):
        raise _missing(TypeError("no object"), "neo4j")
    return response.status, cast(dict[str, object], answer)


# --- All kinds ---

_CHECKS: dict[str, Callable[[Target, float], str]] = {
    "mysql": _mysql,
    "mariadb": _mysql,
    "redis": _redis,
    "postgres": _postgres,
    "neo4j": _neo4j,
}
_CLIENTS: dict[str, str] = {
    "mysql": "pymysql",
    "mariadb": "pymysql",
    "redis": "redis",
    "postgres": "pg8000.native",
}

#: The kinds that can be checked.
KINDS = tuple(_CHECKS)
#: The name of a database on one Neo4j server, a path segment here.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]*")


def bad_target(target: Target) -> str | None:
    """What is wrong with `target` before anything is asked of the network; None when nothing is."""
    if target.kind not in _CHECKS:
        return f"kind {target.kind!r} is unknown (known: {', '.join(KINDS)})"
    if not target.host:
        return "host is empty"
    if not 1 <= target.port <= 65535:
        return f"port {target.port} is not between 1 and 65535"
    if target.kind == "redis" and target.database and not target.database.isdecimal():
        return f"database {target.database!r} is not one of redis's numbers"
    if not _PLAIN_NAME.fullmatch(target.database):
        return f"database {target.database!r} is not a plain name"
    return None


def load_client(kind: str) -> None:
    """Imports the client for `kind` now, so that a first check doesn't spend its time on that."""
    if kind in _CLIENTS:
        importlib.import_module(_CLIENTS[kind])


def check(target: Target, timeout: float) -> Answer:
    """Logs in and asks one query; `timeout` in seconds is for each step on the network. Never raises for what
    it meets.

    `missing`: nothing answers, not in time, or not in that protocol. `refused`: the server says no.
    """
    wrong = bad_target(target)
    if wrong is not None:
        raise ValueError(wrong)
    try:
        version = _CHECKS[target.kind](target, timeout)
    except _Refused as error:
        return Answer(False, reason="refused", detail=_without_secret(str(error), target))
    except _Missing as error:
        return Answer(False, reason="missing", detail=_without_secret(str(error), target))
    except Exception as error:  # noqa: BLE001 - clients raise KeyError, struct.error and more on a stranger's bytes
        return Answer(False, reason="missing", detail=str(_missing(error, target.kind)))
    return Answer(True, version=one_line(version))


def _without_secret(text: str, target: Target) -> str:
    """Servers don't repeat passwords; should one, it ends here."""
    if len(target.password) >= 4 and target.password != target.user:
        text = text.replace(target.password, "***")
    return one_line(text)
