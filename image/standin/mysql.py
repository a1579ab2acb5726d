"""Logging in to MySQL and MariaDB, with PyMySQL."""

import importlib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol, cast

from standin.target import Target
from standin.trouble import Refused, encrypting, missing

#: The server's own numbers for "who are you" (a wrong name or password).
ACCESS_DENIED = 1045


class Cursor(Protocol):
    """As much of PyMySQL's cursor as is used here: it has no types."""

    def execute(self, query: str, args: Sequence[object] | None = None) -> int: ...
    def fetchone(self) -> tuple[object, ...] | None: ...
    def fetchall(self) -> Sequence[tuple[object, ...]]: ...


class Connection(Protocol):
    """As much of PyMySQL's connection as is used here."""

    ctx: ssl.SSLContext
    ssl: bool

    def connect(self) -> None: ...
    def cursor(self) -> Cursor: ...
    def close(self) -> None: ...


class AccessDenied(Refused):
    """The server knows no such user, or the password is another one."""


def connect(target: Target, timeout: float) -> Connection:
    """A connection that is logged in; raises `Missing`, `Refused` or, for a wrong login, `AccessDenied`."""
    pymysql = cast(Any, importlib.import_module("pymysql"))
    connection = cast(
        Connection,
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
    connection.ssl, connection.ctx = True, encrypting()  # TLS where the server has it
    try:
        connection.connect()
    except pymysql.err.MySQLError as error:
        raise trouble(error) from error
    except RuntimeError as error:  # a login method that needs a library which PyMySQL doesn't find
        raise Refused("its login method needs TLS, which this server doesn't offer") from error
    return connection


def ask(connection: Connection, query: str, args: Sequence[object] | None = None) -> list[tuple[object, ...]]:
    """The rows of one statement. `args` are values, quoted by the driver as the server's own modes want it."""
    pymysql = cast(Any, importlib.import_module("pymysql"))
    cursor = connection.cursor()
    try:
        cursor.execute(query, args)
        return list(cursor.fetchall())
    except pymysql.err.MySQLError as error:
        raise trouble(error) from error


def close(connection: Connection) -> None:
    """Says goodbye; that the other end went first is no trouble."""
    with suppress(Exception):
        connection.close()


def check(target: Target, timeout: float) -> str:
    """The server's version, after a login and a query."""
    connection = connect(target, timeout)
    rows = ask(connection, "SELECT VERSION()")
    close(connection)
    return str(rows[0][0]) if rows else "unknown"


def trouble(error: Exception) -> Exception:
    """What PyMySQL's error means."""
    code: object = error.args[0] if error.args else 0
    # 2000 to 2999 are the client's own errors.
    if isinstance(code, int) and code > 0 and not 2000 <= code < 3000:
        text = str(error.args[1]) if len(error.args) > 1 else f"error {code}"
        return AccessDenied(text) if code == ACCESS_DENIED else Refused(text)
    return missing(error, "mysql")
