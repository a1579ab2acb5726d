"""The stand-in and its database check with real MariaDB, Redis and PostgreSQL (P5, D14, D16, issue 3)."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host import databases
from tests.host.databases import Server
from tests.image import service
from tests.image.service import eventually, running

pytestmark = [pytest.mark.host, pytest.mark.timeout(1200)]

#: With blanks, quotes and letters that are no latin-1.
PASSWORD = "gehe im-道:1$"
#: D14: at most 45 MB resident (MB, not MiB: the stricter reading).
MEMORY_KILOBYTES = 45_000_000 // 1024


@pytest.fixture(scope="module")
def installed() -> None:
    reason = databases.ensure_installed()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def redis(installed: None) -> Iterator[Server]:
    with databases.redis(password="geheim-redis-1") as server:
        yield server


@pytest.fixture(scope="module")
def mariadb(installed: None) -> Iterator[Server]:
    with databases.mariadb(password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def postgres(installed: None) -> Iterator[Server]:
    with databases.postgres(password=PASSWORD) as server:
        yield server


def check(server: Server, **changed: object) -> dict[str, Any]:
    """What `python -m standin.dbcheck` prints about `server`, and that it says the same again."""
    fields = {
        "kind": server.kind,
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "database": "",
        "password": server.password,
        **changed,
    }
    runs = [service.run("standin.dbcheck", [], json.dumps(fields).encode(), {}) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout, "stable from run to run"
    assert (runs[0].returncode, runs[0].stderr, runs[0].stdout.count(b"\n")) == (0, b"", 1)
    assert str(fields["password"]) not in runs[0].stdout.decode() or not fields["password"]
    return json.loads(runs[0].stdout)


def variables(*servers: Server) -> dict[str, str]:
    """The environment of a service that reuses `servers`."""
    found = {"SERVICE_DATABASES": ",".join(f"{server.kind}=reused" for server in servers)}
    for server in servers:
        prefix = f"BLOCKCHAIN_{server.kind.upper()}_"
        found |= {prefix + "HOST": server.host, prefix + "PORT": str(server.port), prefix + "USER": server.user}
        found |= {prefix + "PASSWORD": server.password}
    return found


def test_mariadb(mariadb: Server) -> None:
    found = check(mariadb)
    assert found["ok"] is True
    assert "MariaDB" in found["version"]
    assert check(mariadb, kind="mariadb", database="mysql")["ok"] is True
    assert check(mariadb, password="wrong-1234") == {
        "ok": False,
        "reason": "refused",
        "detail": "Access denied for user 'root'@'localhost' (using password: YES)",
    }
    assert check(mariadb, password="")["reason"] == "refused"
    assert check(mariadb, database="nobody")["detail"] == "Unknown database 'nobody'"


def test_redis(redis: Server) -> None:
    found = check(redis)
    assert found["ok"] is True
    assert found["version"][0].isdigit()
    assert check(redis, database="3")["ok"] is True
    assert check(redis, password="wrong-1234")["reason"] == "refused"
    assert check(redis, password="") == {"ok": False, "reason": "refused", "detail": "Authentication required."}
    assert check(redis, user="nobody")["reason"] == "refused"


def test_redis_without_a_password(installed: None) -> None:
    with databases.redis() as server:
        assert check(server)["ok"] is True
        assert check(server, password="not-needed")["reason"] == "refused"


def test_postgres_without_a_password(installed: None) -> None:
    with databases.postgres() as server:
        assert check(server)["ok"] is True


def test_postgres(postgres: Server) -> None:
    found = check(postgres)
    assert found["ok"] is True
    assert found["version"][0].isdigit()
    assert check(postgres, password="wrong-1234") == {
        "ok": False,
        "reason": "refused",
        "detail": 'password authentication failed for user "postgres"',
    }
    assert check(postgres, password="")["reason"] == "refused"
    assert check(postgres, database="nobody")["detail"] == 'database "nobody" does not exist'


def test_each_is_no_other(mariadb: Server, redis: Server, postgres: Server) -> None:
    for server in (mariadb, redis, postgres):
        for kind in {"mysql", "redis", "postgres", "neo4j"} - {server.kind}:
            found = check(server, kind=kind)
            assert (found["ok"], found["reason"]) == (False, "missing"), (server.kind, kind, found)


def test_a_server_that_insists_on_tls(installed: None, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate")
    with databases.mariadb(password=PASSWORD) as server:
        server.stop()
        key, certificate = server.folder / "key.pem", server.folder / "cert.pem"
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "2", "-keyout", key,
             "-out", certificate], check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        key.chmod(0o644)
        server.command += [f"--ssl-cert={certificate}", f"--ssl-key={key}", "--require-secure-transport=ON"]
        server.start()
        assert check(server)["ok"] is True


def test_ready_shows_both_as_used_and_a_stopped_redis_within_five_seconds(mariadb: Server) -> None:
    with databases.redis(password="geheim-redis-2") as redis, running(variables(mariadb, redis)) as standin:
        ready = standin.get("/ready")
        assert ready.status == 200, ready.body
        assert {name: state["state"] for name, state in ready.json["databases"].items()} == {
            "mysql": "used",
            "redis": "used",
        }
        redis.stop()
        begun = time.monotonic()
        eventually("/ready says that Redis is gone", lambda: standin.get("/ready").status == 503, 5)
        assert time.monotonic() - begun < 5
        gone = standin.get("/ready").json["databases"]
        assert (gone["mysql"]["state"], gone["redis"]["state"]) == ("used", "unreachable")
        assert "connection refused" in gone["redis"]["detail"]
        assert standin.get("/health").status == 200
        assert standin.metric('dependency_up{kind="database",name="redis"}') == 0
        assert standin.metric('dependency_up{kind="database",name="mysql"}') == 1
        redis.start()
        eventually("Redis is back", lambda: standin.get("/ready").status == 200, 30)


def test_a_redis_that_hangs_shows_within_five_seconds_too(installed: None) -> None:
    with databases.redis() as redis, running(variables(redis)) as standin:
        assert standin.get("/ready").status == 200
        assert redis.process is not None
        with frozen(redis.process):
            begun = time.monotonic()
            eventually("/ready says that Redis hangs", lambda: standin.get("/ready").status == 503, 5)
            assert time.monotonic() - begun < 5
            assert standin.get("/ready").json["reasons"][0].startswith("redis: missing: timed out")
        eventually("Redis is back", lambda: standin.get("/ready").status == 200, 30)


@contextlib.contextmanager
def frozen(process: subprocess.Popen[bytes]) -> Iterator[None]:
    import signal

    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_at_most_45_mb_with_both_databases_in_use_and_some_load(mariadb: Server, redis: Server) -> None:  # D14
    with running(variables(mariadb, redis)):
        pass  # the first start may compile its libraries, which costs memory that later ones don't need
    with running(variables(mariadb, redis)) as standin, concurrent.futures.ThreadPoolExecutor(16) as pool:
        for _ in range(5):  # long enough for several checks, not only cached ones
            statuses = list(pool.map(lambda path: standin.get(path).status, ("/health", "/ready", "/metrics") * 100))
            assert set(statuses) == {200}
            time.sleep(1)
        resident = standin.resident_kilobytes()
        print(f"resident: {resident} kB with MariaDB and Redis in use")
        assert resident < MEMORY_KILOBYTES
        assert standin.stop() == 0
        text = "\n".join(standin.lines)
    assert PASSWORD not in text
    assert redis.password not in text


def test_wrong_passwords_do_not_show_anywhere(mariadb: Server, redis: Server) -> None:
    extra = variables(mariadb, redis)
    extra |= {"BLOCKCHAIN_MYSQL_PASSWORD": "wrong-geheim-1", "BLOCKCHAIN_REDIS_PASSWORD": "wrong-geheim-2"}
    with running(extra) as standin:
        ready = standin.get("/ready")
        assert ready.status == 503
        texts = [standin.get(path).body.decode() for path in ("/ready", "/info", "/metrics", "/")]
        assert "refused: Access denied" in texts[0]
        assert standin.stop() == 0
        assert "wrong-geheim" not in "".join([*texts, *standin.lines])
