"""A database and a least-privilege user, made on a real MariaDB (D16, D18, D24)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from standin.trouble import Refused
from tests.host import databases
from tests.host.databases import Server
from tests.host.laptop import REPOSITORY, Laptop, ask, free_ports
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
from tests.hostctl import samples

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    require_servers()


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
