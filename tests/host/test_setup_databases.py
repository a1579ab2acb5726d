"""Databases and least-privilege users, made on real MariaDB, PostgreSQL and Redis servers (D16, D18, D24)."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from standin import mysql, postgres, redisdb
from standin.target import Target
from standin.trouble import Refused
from tests.host import databases
from tests.host.databases import Server
from tests.host.laptop import REPOSITORY, Laptop, ask, free_ports
from tests.hostctl import samples
from tests.image import service

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

#: With blanks, quotes and letters that are no latin-1.
ADMIN_PASSWORD = "gehe im-道:1$"
PASSWORD = "s3rvice 'p\"w\\ %s 道;--"
SECOND = "another one, 'quoted' too"
#: Names that would be statements, were they not quoted.
NASTY_USER = "o'br`ien\"; DROP --%s"
NASTY_DATABASES = ["x`; DROP DATABASE kept; --", 'y"; DROP DATABASE kept; --', "50%_of\\it's"]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    reason = databases.ensure_installed()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def mariadb_server() -> Iterator[Server]:
    with databases.mariadb(password=ADMIN_PASSWORD) as server:
        yield server


@pytest.fixture
def mariadb(mariadb_server: Server) -> Iterator[Server]:
    """With nothing in it but what belongs to the server."""
    yield mariadb_server
    with Admin(mariadb_server) as admin:
        for (name,) in admin.rows("SHOW DATABASES"):
            if name not in ("mysql", "information_schema", "performance_schema", "sys"):
                admin.rows("DROP DATABASE `" + name.replace("`", "``") + "`")
        for user, host in admin.rows("SELECT User, Host FROM mysql.user WHERE User NOT IN ('root', 'mariadb.sys')"):
            admin.rows("DROP USER %s@%s", (user, host))


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


@pytest.fixture
def redis() -> Iterator[Server]:
    with databases.redis(password="geheim-redis-1") as server:
        yield server


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


# --- MariaDB ---


def everything_in_mariadb(server: Server) -> str:
    """All accounts with their rights and password hashes, all databases and tables, as one text."""
    with Admin(server) as admin:
        found = [admin.rows("SHOW DATABASES"), admin.rows("SELECT * FROM mysql.db")]
        for user, host in sorted(admin.rows("SELECT User, Host FROM mysql.user")):
            found.append(admin.rows("SHOW GRANTS FOR %s@%s", (user, host)))
        return repr(found)


def test_mariadb_is_set_up_once(mariadb: Server) -> None:
    assert without_version(set_up(mariadb)) == made("database blockchain", "user blockchain")
    before = everything_in_mariadb(mariadb)
    assert without_version(set_up(mariadb)) == made()
    assert everything_in_mariadb(mariadb) == before  # a second run changes nothing
    with login(mariadb, database="blockchain") as user:
        user.rows("CREATE TABLE t (a INT)")
        user.rows("INSERT INTO t VALUES (1)")


def test_mariadbs_user_can_do_nothing_else(mariadb: Server) -> None:
    with Admin(mariadb) as admin:
        for name in ("kept", "blockchainXusers"):
            admin.rows(f"CREATE DATABASE {name}")
            admin.rows(f"CREATE TABLE {name}.t (a INT)")
    set_up(mariadb, setup={"databases": ["blockchain", "blockchain_users"]})
    with login(mariadb) as user:
        assert {row[0] for row in user.rows("SHOW DATABASES")} == {
            "information_schema",
            "blockchain",
            "blockchain_users",
        }
        for refused in (
            "SELECT * FROM kept.t",
            "SELECT * FROM blockchainXusers.t",  # `_` is any character in a grant, unless escaped
            "SELECT * FROM mysql.user",
            "CREATE USER someone@localhost",
            "CREATE DATABASE other",
            "GRANT ALL ON blockchain.* TO root@localhost",
            "KILL 1",
            "SET GLOBAL max_connections = 5",
            "SELECT LOAD_FILE('/etc/passwd') INTO OUTFILE '/tmp/x'",
        ):
            with pytest.raises(Refused):
                user.rows(refused)


def test_mariadbs_accounts_are_those_of_the_services_network_and_the_machine(mariadb: Server) -> None:
    set_up(mariadb, setup={"subnet": "172.28.84.0/24"})
    with Admin(mariadb) as admin:
        hosts = {host for (host,) in admin.rows("SELECT Host FROM mysql.user WHERE User = 'blockchain'")}
    assert hosts == {"localhost", "172.28.84.%"}
    again = set_up(mariadb, setup={"subnet": "172.28.84.128/25"})
    assert again["created"] == ["user blockchain for 172.28.84.128/255.255.255.128"]
    assert again["notices"] == ["user blockchain may also log in from '172.28.84.%': that account is not ours"]


def test_mariadb_that_looks_up_no_names_sees_an_address(mariadb: Server) -> None:
    """As a server in a container sees Docker's proxy: under an address that is not in the services' network."""
    with databases.mariadb(password=ADMIN_PASSWORD) as server:
        with Admin(server) as admin:
            admin.rows("ALTER USER root@'127.0.0.1' IDENTIFIED BY %s", (ADMIN_PASSWORD,))
        server.stop()
        server.command += ["--skip-name-resolve=ON"]
        server.start()
        assert without_version(set_up(server, setup={"subnet": "172.28.84.0/24"})) == made(
            "database blockchain", "user blockchain"
        )
        with login(server) as user:
            assert user.rows("SELECT CURRENT_USER()")[0][0] == "blockchain@127.0.0.1"
        assert without_version(set_up(server, setup={"subnet": "172.28.84.0/24"})) == made()


def test_mariadbs_password_is_rotated(mariadb: Server) -> None:
    set_up(mariadb)
    changed = set_up(mariadb, password=SECOND)
    assert (changed["created"], changed["changed"]) == ([], ["password of user blockchain"])
    with login(mariadb, SECOND):
        pass
    with pytest.raises(Refused):
        login(mariadb, PASSWORD)
    assert without_version(set_up(mariadb, password=SECOND)) == made()


def test_mariadbs_wrong_admin_changes_nothing(mariadb: Server) -> None:
    before = everything_in_mariadb(mariadb)
    answer = set_up(mariadb, setup={"admin_password": "wrong-admin-1"})
    assert answer == {
        "ok": False,
        "reason": "refused",
        "detail": "the admin's login was refused: Access denied for user 'root'@'localhost' (using password: YES)",
        "created": [],
        "changed": [],
        "notices": [],
    }
    assert everything_in_mariadb(mariadb) == before


def test_what_is_in_mariadb_already_stays(mariadb: Server) -> None:
    def checksum() -> Any:
        with Admin(mariadb) as admin:
            return [admin.rows(f"CHECKSUM TABLE {name}.t EXTENDED") for name in ("blockchain", "other")]

    with Admin(mariadb) as admin:
        for name in ("blockchain", "other"):
            admin.rows(f"CREATE DATABASE {name} CHARACTER SET latin1")
            admin.rows(f"CREATE TABLE {name}.t (a INT, b TEXT)")
            admin.rows(f"INSERT INTO {name}.t VALUES (1, 'one'), (2, 'zwei')")
            admin.rows("COMMIT")
    before = checksum()
    assert set_up(mariadb)["created"] == ["user blockchain"]
    assert set_up(mariadb, password=SECOND)["changed"] == ["password of user blockchain"]
    assert checksum() == before
    with Admin(mariadb) as admin:
        query = "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = 'blockchain'"
        assert admin.rows(query)[0][0] == "latin1"


def test_somebody_elses_mariadb_user_is_reported_and_not_changed(mariadb: Server) -> None:
    with Admin(mariadb) as admin:
        admin.rows("CREATE DATABASE other")
        admin.rows("CREATE USER blockchain@localhost IDENTIFIED BY %s", (SECOND,))
        admin.rows("GRANT SELECT ON other.* TO blockchain@localhost")
    set_up(mariadb, password=SECOND)  # what is missing beside it is made
    before = everything_in_mariadb(mariadb)
    answer = set_up(mariadb)
    assert answer["ok"] is False
    assert answer["detail"].startswith("user blockchain takes another password, and has other grants than ours")
    assert answer["notices"] == ["user blockchain has other grants than ours and is left as it is: SELECT ON `other`.*"]
    assert everything_in_mariadb(mariadb) == before
    with login(mariadb, SECOND):
        pass


def test_names_in_mariadb_that_would_be_statements(mariadb: Server) -> None:
    with Admin(mariadb) as admin:
        admin.rows("CREATE DATABASE kept")
    wanted = {"user": NASTY_USER, "databases": NASTY_DATABASES}
    answer = set_up(mariadb, user=NASTY_USER, database="", setup=wanted)
    assert answer["created"] == [*(f"database {name}" for name in NASTY_DATABASES), f"user {NASTY_USER}"]
    assert answer["notices"] == []
    assert without_version(set_up(mariadb, user=NASTY_USER, database="", setup=wanted)) == made()
    with login(mariadb, user=NASTY_USER) as user:
        found = {row[0] for row in user.rows("SHOW DATABASES")}
        assert found == {"information_schema", *NASTY_DATABASES}
    with Admin(mariadb) as admin:
        assert ("kept",) in admin.rows("SHOW DATABASES")


# --- PostgreSQL ---

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


# --- Redis ---

PREFIX = {"admin": "default", "databases": [], "prefixes": ["blockchain:"]}


def redis_client(server: Server, user: str, password: str) -> Any:
    return redisdb.client(Target("redis", server.host, server.port, user, password), 10)


def set_up_redis(server: Server, **changed: Any) -> dict[str, Any]:
    return set_up(server, **{"database": "0", "setup": PREFIX, **changed})


LOST = "user blockchain is lost when Redis restarts: set aclfile in its configuration"


def test_redis_is_set_up_once(redis: Server) -> None:
    admin = redis_client(redis, "", redis.password)
    admin.set("blockchain:x", "1")
    admin.set("other:x", "secret")
    answer = without_version(set_up_redis(redis))
    assert answer == {"ok": True, "created": ["user blockchain"], "changed": [], "notices": [LOST]}
    before = admin.execute_command("ACL", "LIST")
    assert without_version(set_up_redis(redis)) == {**answer, "created": []}
    assert admin.execute_command("ACL", "LIST") == before  # a second run changes nothing
    user = redis_client(redis, "blockchain", PASSWORD)
    assert user.get("blockchain:x") == b"1"
    user.set("blockchain:y", "2")
    for command in (
        ["GET", "other:x"],
        ["SET", "blockchai", "1"],
        ["FLUSHALL"],
        ["KEYS", "*"],
        ["SCAN", "0"],
        ["CONFIG", "GET", "*"],
        ["ACL", "SETUSER", "someone", "on"],
        ["EVAL", "return redis.call('GET', 'other:x')", "0"],
        ["PUBLISH", "other", "x"],
        ["SHUTDOWN"],
    ):
        with pytest.raises(Refused):
            redisdb.told(lambda command=command: user.execute_command(*command))
    assert admin.get("other:x") == b"secret"


def test_redis_password_is_rotated(redis: Server) -> None:
    set_up_redis(redis)
    assert set_up_redis(redis, password=SECOND)["changed"] == ["password of user blockchain"]
    assert set_up_redis(redis, password=SECOND)["changed"] == []
    assert redis_client(redis, "blockchain", SECOND).ping()
    with pytest.raises(Refused):
        redisdb.told(redis_client(redis, "blockchain", PASSWORD).ping)


def test_redis_wrong_admin(redis: Server) -> None:
    answer = set_up_redis(redis, setup=PREFIX | {"admin_password": "wrong-admin-1"})
    assert (answer["ok"], answer["reason"]) == (False, "refused")
    assert answer["detail"].startswith("the admin's login was refused: ")
    assert redis_client(redis, "", redis.password).execute_command("ACL", "USERS") == [b"default"]


def test_somebody_elses_redis_user_is_reported_and_not_changed(redis: Server) -> None:
    admin = redis_client(redis, "", redis.password)
    admin.execute_command("ACL", "SETUSER", "blockchain", "on", ">their-own-1", "~*", "+get")
    before = admin.execute_command("ACL", "LIST")
    answer = set_up_redis(redis)
    assert answer["ok"] is False
    assert answer["detail"].startswith("user blockchain takes another password, and has other grants than ours (")
    assert set_up_redis(redis, password="their-own-1")["ok"] is False  # it may not ask what the check asks
    assert admin.execute_command("ACL", "LIST") == before


def test_redis_users_are_written_down_where_there_is_a_file(redis: Server) -> None:
    redis.stop()
    acl = redis.folder / "users.acl"
    acl.write_text(f"user default on >{redis.password} ~* &* +@all\n")
    config = redis.folder / "redis.conf"
    lines = [line for line in config.read_text().splitlines() if not line.startswith("requirepass")]
    config.write_text("\n".join([*lines, f"aclfile {acl}", ""]))
    redis.start()
    assert without_version(set_up_redis(redis)) == made("user blockchain")
    assert PASSWORD not in acl.read_text()
    redis.stop()
    redis.start()
    assert without_version(set_up_redis(redis)) == made()


# --- through hostctl ---


def test_hostctl_sets_up_rotates_and_keeps_passwords_to_itself(mariadb: Server, tmp_path: Path) -> None:
    laptop = Laptop(tmp_path / "base")
    laptop.base.mkdir()
    laptop.make()
    try:
        laptop.host("")
        definition = samples.database("mysql", [sys.executable, "-m", "standin.dbcheck"], when_missing="fail")
        definition["check"]["cwd"] = str(REPOSITORY / "image")
        definition["check"]["timeout_seconds"] = 30
        definition["check"]["input"] |= {
            "port": mariadb.port,
            "user": "blockchain",
            "database": "blockchain",
            "setup": {"admin": "root", "user": "blockchain", "databases": ["blockchain", "dao_users"]},
        }
        port = free_ports(1)[0]
        laptop.run("secrets", "mysql-admin", stdin={"PASSWORD": ADMIN_PASSWORD})
        laptop.run("secrets", "mysql", stdin={"PASSWORD": PASSWORD})
        found = json.loads(laptop.run("database", "mysql", "--observed", "", stdin=definition).stdout)
        assert found["created"] == ["database blockchain", "database dao_users", "user blockchain"]
        again = json.loads(laptop.run("database", "mysql", "--observed", "", stdin=definition).stdout)
        assert {"created", "changed", "notices"}.isdisjoint(again)
        laptop.up(laptop.service("identity-service", port, secrets=["mysql"]))
        done = laptop.run("secrets", "mysql", stdin={"PASSWORD": SECOND})
        assert json.loads(done.stdout)["restarted"] == ["identity-service"]
        assert "mysql: changed password of user blockchain" in done.stderr
        with login(mariadb, SECOND):
            pass
        env = ask(port)["env"]
        assert env["BLOCKCHAIN_MYSQL_PASSWORD"] == SECOND
        assert ADMIN_PASSWORD not in repr(env)
        # One that the server would not take: nothing is changed, services keep the old one.
        laptop.run("secrets", "mysql-admin", stdin={"PASSWORD": "wrong-admin-1"})
        refused = laptop.run("secrets", "mysql", stdin={"PASSWORD": PASSWORD}, fails=1)
        assert "could not be changed (refused: the admin's login was refused" in refused.stderr
        assert ask(port)["env"]["BLOCKCHAIN_MYSQL_PASSWORD"] == SECOND
        secrets = [ADMIN_PASSWORD, PASSWORD, SECOND, "wrong-admin-1"]
        told = laptop.text("state/audit.log") + done.stderr + refused.stderr
        assert not any(json.dumps(secret)[1:-1] in told or secret in told for secret in secrets)  # D6
    finally:
        laptop.clean_up()
