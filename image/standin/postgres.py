"""Logging in to PostgreSQL, with pg8000."""

import importlib
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, cast

from standin.target import Target
from standin.trouble import Missing, Refused, encrypting, missing

#: The server's own codes: a wrong password, a database that isn't there, still starting.
WRONG_PASSWORD, NO_DATABASE, STARTING = "28P01", "3D000", "57P03"


class Connection(Protocol):
    """As much of pg8000's connection as is used here: it has no types."""

    def run(self, sql: str, **values: object) -> list[list[object]] | None: ...
    def close(self) -> None: ...


class Denied(Refused):
    """The server says no; `code` is its SQLSTATE."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


def connect(target: Target, timeout: float) -> Connection:
    """A connection that is logged in; raises `Missing` or `Denied`."""
    native = _native()
    login = partial(
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
        return cast(Connection, _with_or_without_tls(native, login))
    except native.DatabaseError as error:
        raise trouble(error) from error
    except native.InterfaceError as error:
        raise missing(error, "postgres") from error


def _with_or_without_tls(native: Any, login: Any) -> Any:
    try:
        return login(ssl_context=encrypting())
    except native.InterfaceError as error:
        if "refuses SSL" not in str(error):
            raise
        return login(ssl_context=False)


def ask(connection: Connection, sql: str, **values: object) -> list[list[object]]:
    """The rows of one statement. `values` are sent apart from it, as `:name` in its text."""
    native = _native()
    try:
        return connection.run(sql, **values) or []
    except native.DatabaseError as error:
        raise trouble(error) from error
    except native.InterfaceError as error:
        raise missing(error, "postgres") from error


def close(connection: Connection) -> None:
    """Says goodbye; that the other end went first is no trouble."""
    with suppress(Exception):
        connection.close()


def check(target: Target, timeout: float) -> str:
    """The server's version, after a login and a query."""
    connection = connect(target, timeout)
    rows = ask(connection, "SHOW server_version")
    close(connection)
    return str(rows[0][0])


def trouble(error: Exception) -> Exception:
    """What pg8000's error means."""
    parts: object = error.args[0] if error.args else {}
    fields = cast(dict[str, str], parts) if isinstance(parts, dict) else {}
    if fields.get("C") == STARTING:  # cannot_connect_now
        return Missing(fields.get("M", "the database system is starting up"))
    return Denied(fields.get("M", str(error)), fields.get("C", ""))


def _native() -> Any:
    return importlib.import_module("pg8000.native")
