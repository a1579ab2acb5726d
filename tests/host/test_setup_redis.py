"""A least-privilege user, made on a real Redis (D16, D18, D24)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from standin import redisdb
from standin.target import Target
from standin.trouble import Refused
from tests.host import databases
from tests.host.databases import Server
from tests.host.setup_databases import (
    PASSWORD,
    SECOND,
    made,
    require_servers,
    set_up,
    without_version,
)

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    require_servers()


@pytest.fixture
def redis() -> Iterator[Server]:
    with databases.redis(password="geheim-redis-1") as server:
        yield server


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


LIBRARY = "#!lua name=theirs\nredis.register_function('answer', function() return 42 end)"


def test_functions_are_everybodys_and_stay(redis: Server) -> None:
    admin = redis_client(redis, "", redis.password)
    if int(admin.info("server")["redis_version"].partition(".")[0]) < 7:
        pytest.skip("functions came with Redis 7")
    admin.function_load(LIBRARY)
    set_up_redis(redis)
    user = redis_client(redis, "blockchain", PASSWORD)
    for command in (
        ["FUNCTION", "LOAD", "REPLACE", LIBRARY.replace("42", "13")],
        ["FUNCTION", "DELETE", "theirs"],
        ["FUNCTION", "FLUSH"],
        ["FUNCTION", "LIST"],
    ):
        with pytest.raises(Refused, match="no permissions"):
            redisdb.told(lambda command=command: user.execute_command(*command))
    assert admin.fcall("answer", 0) == 42
    assert without_version(set_up_redis(redis))["notices"] == [LOST]  # a second run takes the user for ours


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
