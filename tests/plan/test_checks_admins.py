"""Databases whose user an admin makes: what can't be made, and which secrets there must be (D6, D24)."""

from __future__ import annotations

from typing import Any

import pytest

from plan.semantic import SECRET
from tests.plan.stacks import Change, plan_of, problems_of, put

HOW = "(`make encrypt`, or `pulumi config set --secret`)"
USER = "name the services' own user, for example blockchain"
DATABASE = "name a database of the services' own, for example blockchain"


def admin(name: str = "mysql", **changes: Any) -> list[Change]:
    """An admin for a database of alibaba's, both secrets, and changes of the database's entry."""
    values = {"admin": "root"} | changes
    secrets = put("secrets", {name: SECRET, f"{name}-admin": SECRET})
    return [secrets, *(put(f"databases.{name}.{key}", value) for key, value in values.items())]


def test_an_admin_makes_a_user_and_a_database_of_our_own() -> None:
    database = plan_of("alibaba", *admin()).database("mysql")
    assert (database.admin, database.user, database.database) == ("root", "blockchain", "blockchain")
    assert database.admin_secret == "mysql-admin"
    redis = plan_of("alibaba", *admin("redis", admin="default")).database("redis")
    assert (redis.user, redis.database) == ("blockchain", "0")
    without = plan_of("alibaba").database("mysql")
    assert (without.admin, without.user, without.database) == (None, "root", "")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (admin(user="root"), f"databases.mysql.user: 'root' is the admin itself; {USER}"),
        (admin(admin="boss", user="Root"), f"databases.mysql.user: 'Root' is the server's own user; {USER}"),
        (admin(user=""), f"databases.mysql.user: '' is no name for a user that is made; {USER}"),
        (admin(user="x" * 33), f"databases.mysql.user: {'x' * 33!r} is no name for a user that is made; {USER}"),
        (admin(database="mysql"), f"databases.mysql.database: 'mysql' is the server's own database; {DATABASE}"),
        (
            admin(database="information_schema"),
            f"databases.mysql.database: 'information_schema' is the server's own database; {DATABASE}",
        ),
        (admin(database="a b"), f"databases.mysql.database: 'a b' is no name for a database that is made; {DATABASE}"),
        (
            admin(database="dao_users"),
            "databases.mysql.database: dao_users is an edition's own database (D24); "
            "name another one, for example blockchain",
        ),
        (
            admin("postgres", admin="boss", database="template1"),
            f"databases.postgres.database: 'template1' is the server's own database; {DATABASE}",
        ),
        (
            admin("postgres", admin="boss", database="postgres"),
            f"databases.postgres.database: 'postgres' is the server's own database; {DATABASE}",
        ),
        (
            admin("redis", admin="boss", user="default"),
            f"databases.redis.user: 'default' is the server's own user; {USER}",
        ),
        (admin(admin=""), "databases.mysql.admin: is empty; name the admin, for example root"),
    ],
)
def test_what_can_not_be_made(changes: list[Change], problem: str) -> None:
    assert problems_of("alibaba", *changes) == [problem]


def test_both_secrets_must_be_there() -> None:
    change = put("databases.mysql.admin", "root")
    assert problems_of("alibaba", change) == [
        f"databases.mysql.admin: its password is missing; add secrets.mysql-admin {HOW}",
        f"databases.mysql.admin: the password of the user it makes is missing; add secrets.mysql {HOW}",
    ]
    assert problems_of("alibaba", change, put("secrets", {"mysql": SECRET})) == [
        f"databases.mysql.admin: its password is missing; add secrets.mysql-admin {HOW}"
    ]


def test_an_admins_secret_opens_nothing_without_an_admin() -> None:
    found = problems_of("alibaba", put("secrets", {"mysql": SECRET, "mysql-admin": SECRET}))
    assert found == ["secrets.mysql-admin: opens nothing in this stack; did you mean 'mysql'?"]


def test_a_database_can_not_have_the_name_of_an_admins_secret() -> None:
    found = problems_of("alibaba", put("databases.mysql-admin", {"port": 3307, "kind": "mysql"}))
    assert found == [
        "databases.mysql-admin: names that end with -admin are kept for the secrets of databases' admins; "
        "choose another name"
    ]


def test_kinds_and_runtimes_in_which_nothing_is_made() -> None:
    assert problems_of("tencent", *admin("neo4j", admin="boss")) == [
        "databases.neo4j.admin: nothing is made in a database of kind neo4j, only in mysql, postgres, redis; "
        "drop it, and say user and its password"
    ]
    assert problems_of("local", *admin(), put("runtime", "docker")) == [
        "databases.mysql.admin: runtime docker makes no databases; drop it, or set `runtime: process`"
    ]


def test_an_editions_database_is_never_the_services_own() -> None:
    found = problems_of("tencent", put("databases.mysql.database", "blockchain_users"))
    assert found == [
        "databases.mysql.database: blockchain_users is an edition's own database (D24); "
        "name another one, for example blockchain"
    ]


def test_a_containers_name() -> None:
    found = problems_of("tencent", put("databases.mysql.container", "--help"))
    assert found == [
        "databases.mysql.container: '--help' is no container's name; write its name, for example test-mysql"
    ]
