"""Databases whose user and database an admin makes: names that can be made, and both passwords (D6, D24)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plan import catalog
from plan.models import ADMIN_SECRET, DatabasePlan, EnvironmentPlan
from plan.problems import Problem, shown

_LONGEST = {"mysql": (64, 32), "postgres": (63, 63), "redis": (64, 64)}
"""Characters of a database's and a user's name; PostgreSQL would cut longer ones without a word."""
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_HOW = "`make encrypt`, or `pulumi config set --secret`"


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """What would fail, or give away too much, once the admin's rights are used."""
    for database in plan.databases:
        key = f"databases.{database.name}"
        if database.name.endswith(ADMIN_SECRET):
            wrong = f"names that end with {ADMIN_SECRET} are kept for the secrets of databases' admins"
            yield Problem(key, wrong, "choose another name")
        if database.kind == "mysql" and database.database in _editions_databases():
            wrong = f"{database.database} is an edition's own database (D24)"
            yield Problem(f"{key}.database", wrong, f"name another one, for example {catalog.OWN_NAME}")
        if database.admin is not None:
            yield from _admin(plan, database, key)


def _editions_databases() -> set[str]:
    return {catalog.edition_database(edition) for edition in catalog.EDITIONS}


def _admin(plan: EnvironmentPlan, database: DatabasePlan, key: str) -> Iterator[Problem]:
    if database.kind not in catalog.SETUP_KINDS:
        kinds = ", ".join(catalog.SETUP_KINDS)
        wrong = f"nothing is made in a database of kind {database.kind}, only in {kinds}"
        yield Problem(f"{key}.admin", wrong, "drop it, and say user and its password")
        return
    if plan.runtime == "docker":
        yield Problem(f"{key}.admin", "runtime docker makes no databases", "drop it, or set `runtime: process`")
    if not database.admin:
        yield Problem(f"{key}.admin", "is empty", "name the admin, for example root")
    for secret, whose in (
        (database.admin_secret, "its password"),
        (database.name, "the password of the user it makes"),
    ):
        if secret not in plan.secret_names:
            yield Problem(f"{key}.admin", f"{whose} is missing", f"add secrets.{secret} ({_HOW})")
    yield from _user(database, key)
    if database.kind != "redis":
        yield from _database(database, key)


def _user(database: DatabasePlan, key: str) -> Iterator[Problem]:
    right = f"name the services' own user, for example {catalog.OWN_NAME}"
    if database.user == database.admin:
        yield Problem(f"{key}.user", f"{shown(database.user)} is the admin itself", right)
    elif database.user.casefold() in catalog.SYSTEM_USERS[database.kind]:
        yield Problem(f"{key}.user", f"{shown(database.user)} is the server's own user", right)
    elif not _fits(database.user, _LONGEST[database.kind][1]):
        yield Problem(f"{key}.user", f"{shown(database.user)} is no name for a user that is made", right)


def _database(database: DatabasePlan, key: str) -> Iterator[Problem]:
    right = f"name a database of the services' own, for example {catalog.OWN_NAME}"
    if database.database.casefold() in catalog.SYSTEM_DATABASES[database.kind]:
        yield Problem(f"{key}.database", f"{shown(database.database)} is the server's own database", right)
    elif not _fits(database.database, _LONGEST[database.kind][0]):
        yield Problem(f"{key}.database", f"{shown(database.database)} is no name for a database that is made", right)


def _fits(name: str, longest: int) -> bool:
    return bool(_NAME.fullmatch(name)) and len(name) <= longest
