"""A database and a least-privilege user, made on a real PostgreSQL (D16, D18, D24)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from standin.trouble import Refused
from tests.host import databases
from tests.host.databases import Server
from tests.host.setup_databases import (
    ADMIN_PASSWORD,
    NASTY_DATABASES,
    NASTY_USER,
    PASSWORD,
    SECOND,
    Admin,
    login,
    made,
    require_servers,
    set_up,
    without_version,
)

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    require_servers()


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Server]:
    with databases.postgres(password=ADMIN_PASSWORD) as server:
        yield server


@pytest.fixture
def pg(postgres_server: Server) -> Iterator[Server]:
    yield postgres_server
    with Admin(postgres_server) as admin:
        for (name,) in admin.rows("SELECT datname FROM pg_database WHERE datname NOT LIKE 'template_'"):
            if name != "postgres":
                admin.rows('DROP DATABASE "' + name.replace('"', '""') + '"')
        for (name,) in admin.rows("SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%'"):
            if name != "postgres":
                quoted = '"' + name.replace('"', '""') + '"'
                admin.rows(f"DROP OWNED BY {quoted}")
                admin.rows(f"DROP ROLE {quoted}")


CATALOG = """
SELECT 'role', rolname::text, rolsuper::text || rolcreatedb || rolcreaterole, coalesce(rolpassword, '') FROM pg_authid
UNION ALL SELECT 'database', datname, datdba::text, coalesce(datacl::text, '') FROM pg_database
UNION ALL SELECT 'shared', classid::text, objid::text, refobjid::text FROM pg_shdepend ORDER BY 1, 2, 3, 4"""
SCHEMAS = "SELECT nspname, nspacl::text FROM pg_namespace ORDER BY 1"


def everything_in_postgres(server: Server, *names: str) -> str:
    found = []
    with Admin(server) as admin:
        found.append(admin.rows(CATALOG))
    for name in names:
        with Admin(server, name) as admin:
            found.append(admin.rows(SCHEMAS))
    return repr(found)


def test_postgres_is_set_up_once(pg: Server) -> None:
    assert without_version(set_up(pg)) == made("user blockchain", "database blockchain")
    before = everything_in_postgres(pg, "blockchain", "postgres")
    assert without_version(set_up(pg)) == made()
    assert everything_in_postgres(pg, "blockchain", "postgres") == before  # a second run changes nothing
    with login(pg, database="blockchain") as user:
        user.rows("CREATE TABLE t (a int)")
        user.rows("CREATE SCHEMA mine")
    assert without_version(set_up(pg)) == made()  # what the service makes is no grant of somebody else's


def test_postgres_user_can_do_nothing_else(pg: Server) -> None:
    with Admin(pg) as admin:
        admin.rows("CREATE DATABASE kept")
    with Admin(pg, "kept") as admin:
        admin.rows("CREATE TABLE t (a int)")
    assert set_up(pg)["notices"] == []
    for database in ("kept", "postgres"):
        with login(pg, database=database) as user:  # everybody may connect there: PostgreSQL's default
            for refused in ("SELECT * FROM t", "CREATE TABLE u (a int)", "SELECT rolpassword FROM pg_authid"):
                with pytest.raises(Refused):
                    user.rows(refused)
    with login(pg, database="blockchain") as user:
        for refused in (
            "CREATE ROLE someone",
            "CREATE DATABASE other",
            "ALTER ROLE blockchain SUPERUSER",
            "DROP DATABASE kept",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SET ROLE postgres",
        ):
            with pytest.raises(Refused):
                user.rows(refused)


def test_nobody_else_may_connect_to_a_new_postgres_database(pg: Server) -> None:
    set_up(pg)
    with Admin(pg) as admin:
        admin.rows("CREATE ROLE stranger LOGIN PASSWORD 'stranger-1'")
    with pytest.raises(Refused, match="permission denied for database"):
        login(pg, "stranger-1", "stranger", "blockchain")


def test_postgres_password_is_rotated(pg: Server) -> None:
    set_up(pg)
    changed = set_up(pg, password=SECOND)
    assert (changed["created"], changed["changed"]) == ([], ["password of user blockchain"])
    with login(pg, SECOND, database="blockchain"):
        pass
    with pytest.raises(Refused):
        login(pg, PASSWORD, database="blockchain")
    assert without_version(set_up(pg, password=SECOND)) == made()


def test_postgres_wrong_admin_changes_nothing(pg: Server) -> None:
    before = everything_in_postgres(pg)
    answer = set_up(pg, setup={"admin_password": "wrong-admin-1"})
    text = 'the admin\'s login was refused: password authentication failed for user "postgres"'
    assert (answer["ok"], answer["reason"], answer["detail"]) == (False, "refused", text)
    assert everything_in_postgres(pg) == before


def test_what_is_in_postgres_already_stays(pg: Server) -> None:
    def checksum() -> str:
        with Admin(pg, "blockchain") as admin:
            rows = [admin.rows("SELECT xmin, ctid, * FROM t ORDER BY a"), admin.rows("SELECT relacl FROM pg_class")]
            return hashlib.sha256(repr(rows).encode()).hexdigest()

    with Admin(pg) as admin:
        admin.rows("CREATE DATABASE blockchain")
    with Admin(pg, "blockchain") as admin:
        admin.rows("CREATE TABLE t (a int, b text)")
        admin.rows("INSERT INTO t VALUES (1, 'one'), (2, 'zwei')")
    before = checksum()
    answer = set_up(pg)
    assert answer["created"] == ["user blockchain"]
    assert answer["notices"] == ["every user of this server may connect to database blockchain, which was there before"]
    assert checksum() == before
    with login(pg, database="blockchain") as user:
        user.rows("CREATE TABLE own (a int)")
        with pytest.raises(Refused):  # somebody else's table in the same database is not given away
            user.rows("SELECT * FROM t")


def test_a_postgres_database_that_a_cut_run_left_open_is_closed(pg: Server) -> None:
    with Admin(pg) as admin:
        admin.rows("CREATE DATABASE blockchain")
        admin.rows("CREATE ROLE stranger LOGIN PASSWORD 'stranger-1'")
    answer = without_version(set_up(pg))
    assert answer["changed"] == ["database blockchain, which was empty: closed to other users"]
    assert answer["notices"] == []
    with pytest.raises(Refused, match="permission denied for database"):
        login(pg, "stranger-1", "stranger", "blockchain")
    assert without_version(set_up(pg)) == made()


@pytest.mark.parametrize(
    "statement", ["ALTER DATABASE blockchain OWNER TO stranger", "GRANT CONNECT ON DATABASE blockchain TO stranger"]
)
def test_somebody_elses_open_postgres_database_stays_open(pg: Server, statement: str) -> None:
    with Admin(pg) as admin:
        admin.rows("CREATE DATABASE blockchain")
        admin.rows("CREATE ROLE stranger LOGIN PASSWORD 'stranger-1'")
        admin.rows(statement)
    answer = set_up(pg)
    assert answer["changed"] == []
    assert answer["notices"] == ["every user of this server may connect to database blockchain, which was there before"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE SCHEMA theirs",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE mood AS ENUM ('ok')",
        "SELECT lo_create(0)",
    ],
)
def test_whatever_is_in_it_a_postgres_database_is_not_empty(pg: Server, statement: str) -> None:
    with Admin(pg) as admin:
        admin.rows("CREATE DATABASE blockchain")
    with Admin(pg, "blockchain") as admin:
        admin.rows(statement)
    assert set_up(pg)["changed"] == []


def test_a_table_for_everybody_in_another_postgres_database_is_said(pg: Server) -> None:
    with Admin(pg) as admin:
        admin.rows("CREATE DATABASE open")
    with Admin(pg, "open") as admin:
        admin.rows("CREATE TABLE t (a int)")
        admin.rows("GRANT SELECT ON t TO PUBLIC")
    assert set_up(pg)["notices"] == ["user blockchain can read 1 table of database open, which is not ours"]


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["CREATE ROLE blockchain LOGIN CREATEDB PASSWORD 'their-own-1'"], "CREATEDB"),
        (["CREATE ROLE blockchain PASSWORD 'their-own-1'"], "NOLOGIN"),
        (
            ["CREATE ROLE blockchain LOGIN PASSWORD 'their-own-1'", "GRANT pg_monitor TO blockchain"],
            "member of pg_monitor",
        ),
        (
            [
                "CREATE ROLE blockchain LOGIN PASSWORD 'their-own-1'",
                "CREATE DATABASE theirs",
                "GRANT CREATE ON DATABASE theirs TO blockchain",
            ],
            "rights in database theirs",
        ),
    ],
)
def test_somebody_elses_postgres_user_is_reported_and_not_changed(pg: Server, statements: list[str], said: str) -> None:
    with Admin(pg) as admin:
        for statement in statements:
            admin.rows(statement)
        before = admin.rows("SELECT rolpassword FROM pg_authid WHERE rolname = 'blockchain'")
    answer = set_up(pg)
    assert answer["ok"] is False
    assert f"user blockchain has other grants than ours and is left as it is: {said}" in answer["notices"]
    with Admin(pg) as admin:
        assert admin.rows("SELECT rolpassword FROM pg_authid WHERE rolname = 'blockchain'") == before


def test_names_in_postgres_that_would_be_statements(pg: Server) -> None:
    with Admin(pg) as admin:
        admin.rows("CREATE DATABASE kept")
    wanted = {"user": NASTY_USER, "databases": NASTY_DATABASES}
    answer = set_up(pg, user=NASTY_USER, database="", setup=wanted)
    assert answer["created"] == [f"user {NASTY_USER}", *(f"database {name}" for name in NASTY_DATABASES)]
    assert without_version(set_up(pg, user=NASTY_USER, database="", setup=wanted)) == made()
    with Admin(pg) as admin:
        names = {row[0] for row in admin.rows("SELECT datname FROM pg_database")}
    assert names >= {"kept", *NASTY_DATABASES}


def test_no_password_reaches_postgres_log(pg: Server) -> None:
    with Admin(pg) as admin:
        admin.rows("ALTER SYSTEM SET log_statement = 'all'")
        admin.rows("SELECT pg_reload_conf()")
        admin.rows("SELECT pg_sleep(0.5)")
    try:
        set_up(pg, password="plain-secret-1")
        set_up(pg, password="plain-secret-2")
    finally:
        with Admin(pg) as admin:
            admin.rows("ALTER SYSTEM RESET log_statement")
            admin.rows("SELECT pg_reload_conf()")
    log = pg.log.read_text(errors="replace")
    assert "CREATE ROLE" in log
    assert "plain-secret" not in log
