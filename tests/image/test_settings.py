"""The environment -> Settings: what the contract gives, and every problem at once (D13)."""

from __future__ import annotations

from pathlib import Path

import pytest

from standin.databases import Target
from standin.settings import Database, NeededService, SettingsError, load
from tests.image import service

PLAIN = {"SERVICE_NAME": "identity-service", "SERVICE_PORT": "8302"}


def problems(extra: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load({**PLAIN, **extra})
    return caught.value.problems


def test_what_the_contract_gives() -> None:
    settings = load(
        {
            **PLAIN,
            "PORT": "8302",
            "SERVICE_BIND": "0.0.0.0",
            "SERVICE_ENVIRONMENT": "tencent",
            "BLOCKCHAIN_MODE": "integration",
            "BLOCKCHAIN_CHAIN": "huawei,ethereum",
            "SERVICE_NEEDS": "identity-service=http://127.0.0.1:8402,governance-service=http://gov:8403/",
            "SERVICE_DATABASES": "mysql=reused,redis=embedded",
            "BLOCKCHAIN_MYSQL_HOST": "172.18.0.1",
            "BLOCKCHAIN_MYSQL_PORT": "3306",
            "BLOCKCHAIN_MYSQL_USER": "dao",
            "BLOCKCHAIN_MYSQL_DATABASE": "dao_users",
            "BLOCKCHAIN_MYSQL_PASSWORD": "geheim",
            "SERVICE_DATA": "/data/x",
        }
    )
    assert (settings.port, settings.bind, settings.environment) == (8302, "0.0.0.0", "tencent")
    assert (settings.mode, settings.chains) == ("integration", ("huawei", "ethereum"))
    assert settings.needs == (
        NeededService("identity-service", "http://127.0.0.1:8402", "127.0.0.1", 8402),
        NeededService("governance-service", "http://gov:8403", "gov", 8403),
    )
    mysql = Target("mysql", "172.18.0.1", 3306, "dao", "geheim", "dao_users")
    assert settings.databases == (Database("mysql", "reused", mysql), Database("redis", "embedded", None))
    assert settings.data == Path("/data/x")
    assert "geheim" not in repr(settings)


def test_little_is_enough() -> None:
    settings = load({"SERVICE_NAME": "x", "PORT": "1"})
    assert (settings.port, settings.bind, settings.mode, settings.chains) == (
        1,
        "127.0.0.1",
        "development",
        ("simulation",),
    )
    assert not settings.is_shared
    assert load({**PLAIN, "SERVICE_NAME": "dao-shared-service", "SERVICE_DATA": "/d"}).is_shared


def test_every_problem_at_once() -> None:
    found = problems(
        {
            "SERVICE_NAME": "Identity",
            "SERVICE_PORT": "70000",
            "BLOCKCHAIN_MODE": "prod",
            "BLOCKCHAIN_CHAIN": "huawei,,x",
            "SERVICE_NEEDS": "a=http://u:p@h:1,b,c=ftp://h,d=http://h:x",
            "SERVICE_DATABASES": "mysql=there,oracle=reused,redis=embedded,redis=reused",
            "STAND_IN_STARTUP_SECONDS": "soon",
        }
    )
    assert [problem.split(":")[0] for problem in found] == [
        "SERVICE_NAME",
        "SERVICE_PORT",
        "BLOCKCHAIN_MODE",
        "BLOCKCHAIN_CHAIN",
        *["SERVICE_NEEDS"] * 4,
        *["SERVICE_DATABASES"] * 3,
        "STAND_IN_STARTUP_SECONDS",
        "SERVICE_DATA",
    ]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"SERVICE_PORT": ""}, "SERVICE_PORT: is not set; it is a number from 1 to 65535"),
        ({"SERVICE_PORT": "٣"}, "SERVICE_PORT: '٣' is no port; it is a number from 1 to 65535"),
        ({"PORT": "1"}, "PORT: '1' differs from SERVICE_PORT '8302'; both are the port to listen on"),
        (
            {"BLOCKCHAIN_MODE": "prod"},
            "BLOCKCHAIN_MODE: 'prod' is unknown; it is one of development, integration, production",
        ),
        (
            {"SERVICE_NEEDS": "a=http://user:geheim@h:1"},
            "SERVICE_NEEDS: the address of 'a' is not understood; it is http://HOST:PORT",
        ),
        (
            {"SERVICE_DATABASES": "oracle=reused"},
            "SERVICE_DATABASES: 'oracle' is unknown; "
            "known: mysql, mariadb, redis, postgres, neo4j, elasticsearch, weaviate",
        ),
        (
            {"SERVICE_DATABASES": "redis=reused", "BLOCKCHAIN_REDIS_DATABASE": "users"},
            "BLOCKCHAIN_REDIS_DATABASE: database 'users' is not one of redis's numbers; see contracts.md",
        ),
        (
            {"SERVICE_NAME": "dao-shared-service"},
            "SERVICE_DATA: is not set; the service keeps its records there: name a folder",
        ),
        (
            {"STAND_IN_STARTUP_SECONDS": "nan"},
            "STAND_IN_STARTUP_SECONDS: 'nan' is no time; it is a number of seconds from 0 to 3600",
        ),
        ({"STAND_IN_NEVER_READY": "yes"}, "STAND_IN_NEVER_READY: 'yes' is neither; it is 1 or 0"),
        (
            {"STAND_IN_CRASH_AFTER_READY_SECONDS": "never"},
            "STAND_IN_CRASH_AFTER_READY_SECONDS: 'never' is no time; it is a number of seconds from 0 to 3600",
        ),
    ],
)
def test_a_problem_says_what_would_be_right(extra: dict[str, str], message: str) -> None:
    assert problems(extra) == (message,)


def test_a_wrong_environment_ends_the_program_with_a_line_for_each_problem() -> None:
    done = service.run("standin", [], b"", {"SERVICE_NAME": "x", "SERVICE_PORT": "no", "BLOCKCHAIN_MODE": "prod"})
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 2
    assert len(lines) == 2
    assert all("level=error" in line and "wrong environment" in line for line in lines)
