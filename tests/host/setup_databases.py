"""What the tests of a database's setup share: the servers, one run of the client, and the admin's own look."""

from __future__ import annotations

import json
from typing import Any

import pytest

from standin import mysql, postgres
from standin.target import Target
from tests.host import databases
from tests.host.databases import Server
from tests.image import service

#: With blanks, quotes and letters that are no latin-1.
ADMIN_PASSWORD = "gehe im-道:1$"
PASSWORD = "s3rvice 'p\"w\\ %s 道;--"
SECOND = "another one, 'quoted' too"
#: Names that would be statements, were they not quoted.
NASTY_USER = "o'br`ien\"; DROP --%s"
NASTY_DATABASES = ["x`; DROP DATABASE kept; --", 'y"; DROP DATABASE kept; --', "50%_of\\it's"]


class Admin:
    """The admin's own connection, to look at a server from the side."""

    def __init__(self, server: Server, database: str = "", user: str = "", password: str = "") -> None:
        target = Target(
            server.kind, server.host, server.port, user or server.user, password or server.password, database
        )
        self.kind = server.kind
        connect: Any = mysql.connect if server.kind == "mysql" else postgres.connect
        self.connection = connect(target, 10)

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def rows(self, sql: str, args: Any = None) -> list[Any]:
        if self.kind == "mysql":
            return mysql.ask(self.connection, sql, args)
        return postgres.ask(self.connection, sql)


def set_up(server: Server, **changed: Any) -> dict[str, Any]:
    """One run of `python -m standin.dbcheck` with a setup; no password is in its answer."""
    wanted = {
        "admin": server.user,
        "admin_password": server.password,
        "user": "blockchain",
        "databases": ["blockchain"],
    }
    fields = {
        "kind": server.kind,
        "host": server.host,
        "port": server.port,
        "user": "blockchain",
        "database": "blockchain",
        "password": PASSWORD,
        "setup": wanted | changed.pop("setup", {}),
        **changed,
    }
    done = service.run("standin.dbcheck", [], json.dumps(fields).encode(), {})
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 1)
    text = done.stdout.decode()
    for secret in (str(fields["password"]), fields["setup"]["admin_password"]):
        assert json.dumps(secret)[1:-1] not in text
        assert secret not in text
    return json.loads(text)


def made(*created: str) -> dict[str, Any]:
    return {"ok": True, "created": list(created), "changed": [], "notices": []}


def without_version(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer.pop("version")[0].isdigit()
    return answer


def login(server: Server, password: str = PASSWORD, user: str = "blockchain", database: str = "") -> Admin:
    return Admin(server, database, user, password)


def require_servers() -> None:
    """Real servers, or a skip that says why there are none."""
    reason = databases.ensure_installed()
    if reason is not None:
        pytest.skip(reason)
