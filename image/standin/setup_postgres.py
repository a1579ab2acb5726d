"""PostgreSQL: a database, and a role that may log in there, make tables there, and nothing else (D24)."""

import base64
import importlib
import re
from collections.abc import Sequence
from typing import Any, cast

from standin import postgres
from standin.postgres import NO_DATABASE, WRONG_PASSWORD, Connection, Denied, ask
from standin.setup_plan import Done, Setup, left_alone, not_its_password
from standin.target import Target
from standin.trouble import Refused

_LONGEST_NAME = 63
_VERIFIER = re.compile(r"SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+")
#: What the role gets on its database.
_RIGHTS = ("CONNECT", "CREATE", "TEMPORARY")

_FOREIGN_ATTRIBUTES = """
SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, NOT rolcanlogin
FROM pg_catalog.pg_roles WHERE rolname = :role"""
_ATTRIBUTES = ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS", "NOLOGIN")
_MEMBERSHIPS = """
SELECT held.rolname FROM pg_catalog.pg_auth_members m
JOIN pg_catalog.pg_roles held ON held.oid = m.roleid
JOIN pg_catalog.pg_roles holder ON holder.oid = m.member
WHERE holder.rolname = :role ORDER BY 1"""
# Everything that a role owns or was granted, in all databases: of a shared thing only a database has a name here.
_HOLDINGS = """
SELECT DISTINCT d.datname FROM pg_catalog.pg_shdepend s
LEFT JOIN pg_catalog.pg_database d ON d.oid = CASE
    WHEN s.dbid = 0 AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass THEN s.objid ELSE s.dbid END
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
AND s.classid <> 'pg_catalog.pg_auth_members'::pg_catalog.regclass
AND s.refobjid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = :role) ORDER BY 1"""
_GRANTED = """
SELECT a.privilege_type FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a
JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE d.datname = :database AND r.rolname = :role"""
_OWNS = """
SELECT 1 FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba
WHERE d.datname = :database AND r.rolname = :role"""
_EVERYBODY_CONNECTS = """
SELECT 1 FROM pg_catalog.pg_database WHERE datname = :database AND (datacl IS NULL OR EXISTS (
    SELECT 1 FROM pg_catalog.aclexplode(datacl) a WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT'))"""
_NEVER_CLOSED = """
SELECT 1 FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba
WHERE d.datname = :database AND d.datacl IS NULL AND r.rolname = CURRENT_USER"""
# What PostgreSQL itself puts into a database has a lower number.
_ANYTHING_INSIDE = """
SELECT 1 FROM pg_catalog.pg_class WHERE oid >= 16384 UNION ALL
SELECT 1 FROM pg_catalog.pg_namespace WHERE oid >= 16384 UNION ALL
SELECT 1 FROM pg_catalog.pg_proc WHERE oid >= 16384 UNION ALL
SELECT 1 FROM pg_catalog.pg_type WHERE oid >= 16384 UNION ALL
SELECT 1 FROM pg_catalog.pg_extension WHERE oid >= 16384 UNION ALL
SELECT 1 FROM pg_catalog.pg_largeobject_metadata WHERE oid >= 16384"""
_MAY_CREATE = """
SELECT pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE') FROM pg_catalog.pg_roles r, pg_catalog.pg_namespace n
WHERE r.rolname = :role AND n.nspname = 'public'"""
_READABLE = """
SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
AND (pg_catalog.has_table_privilege(c.oid, 'SELECT') OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT'))"""


def set_up(target: Target, wanted: Setup, timeout: float, done: Done) -> str:
    """See `setup.run`."""
    admin = _admin(target, wanted, timeout)
    try:
        role = _Role(admin, wanted, target)
        role.make(done)
        for name in wanted.databases:
            if _database(admin, name, done):
                _close(admin, wanted, target, name, timeout, done)
            if not role.foreign:
                role.grant(name, timeout)
        version = role.login(timeout, done)
        _prove(admin, wanted, target, timeout, done)
        return version
    finally:
        postgres.close(admin)


def identifier(name: str) -> str:
    """A name as one identifier of a statement, whatever is in it; always quoted, so that its case stays."""
    if not name or "\0" in name or len(name.encode()) > _LONGEST_NAME:
        raise ValueError("no name of anything in PostgreSQL")
    return '"' + name.replace('"', '""') + '"'


def verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL keeps in a password's place (SCRAM-SHA-256): the password is in no statement, so in no log."""
    scramp = cast(Any, importlib.import_module("scramp"))
    try:
        made = scramp.ScramMechanism("SCRAM-SHA-256").make_auth_info(password, iteration_count=4096, salt=salt)
    except scramp.ScramException as error:
        raise Refused("the password has characters that PostgreSQL takes none with") from error
    salt_made, stored_key, server_key, rounds = cast(tuple[bytes, bytes, bytes, int], made)
    parts = [base64.b64encode(part).decode("ascii") for part in (salt_made, stored_key, server_key)]
    text = f"SCRAM-SHA-256${rounds}:{parts[0]}${parts[1]}:{parts[2]}"
    if not _VERIFIER.fullmatch(text):
        raise ValueError("no verifier")  # it goes into a statement between quotes
    return text


def _admin(target: Target, wanted: Setup, timeout: float, database: str = "postgres") -> Connection:
    try:
        return postgres.connect(wanted.as_admin(target, database), timeout)
    except Denied as error:
        if error.code == NO_DATABASE and database == "postgres":
            return _admin(target, wanted, timeout, "template1")
        raise Refused(f"the admin's login was refused: {error}") from error


class _Role:
    """The role that services log in with."""

    def __init__(self, admin: Connection, wanted: Setup, target: Target) -> None:
        self._admin, self._wanted, self._target = admin, wanted, target
        self._name = identifier(wanted.user)
        self.foreign: list[str] = []

    def make(self, done: Done) -> None:
        """Makes it; one that is there with more than ours stays as it is."""
        user = self._wanted.user
        attributes = ask(self._admin, _FOREIGN_ATTRIBUTES, role=user)
        if not attributes:
            rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
            ask(self._admin, f"CREATE ROLE {self._name} {rights} PASSWORD '{verifier(self._target.password)}'")
            done.created.append(f"user {user}")
            return
        self.foreign = [word for word, has in zip(_ATTRIBUTES, attributes[0], strict=True) if has]
        self.foreign += [f"member of {row[0]}" for row in ask(self._admin, _MEMBERSHIPS, role=user)]
        for row in ask(self._admin, _HOLDINGS, role=user):
            if row[0] is None:
                self.foreign.append("rights on something that all databases share")
            elif row[0] not in self._wanted.databases:
                self.foreign.append(f"rights in database {row[0]}")
        if self.foreign:
            done.notices.append(left_alone(user, self.foreign))

    def grant(self, database: str, timeout: float) -> None:
        """What the role lacks on its database, and in the schema where its tables go."""
        user = self._wanted.user
        if not ask(self._admin, _OWNS, database=database, role=user):
            had = {row[0] for row in ask(self._admin, _GRANTED, database=database, role=user)}
            lacks = [right for right in _RIGHTS if right not in had]
            if lacks:
                ask(self._admin, f"GRANT {', '.join(lacks)} ON DATABASE {identifier(database)} TO {self._name}")
        inside = _admin(self._target, self._wanted, timeout, database)
        try:
            may = ask(inside, _MAY_CREATE, role=user)
            if may and not may[0][0]:
                ask(inside, f"GRANT USAGE, CREATE ON SCHEMA public TO {self._name}")
        finally:
            postgres.close(inside)

    def login(self, timeout: float, done: Done) -> str:
        """Logs in to each database; sets the password to the given one first where it has another (rotation)."""
        version = ""
        for name in self._wanted.databases:
            place = self._wanted.as_user(self._target, name)
            try:
                version = postgres.check(place, timeout)
            except Denied as error:
                if error.code != WRONG_PASSWORD:
                    raise
                if self.foreign:
                    raise Refused(not_its_password(self._wanted.user, self.foreign)) from error
                ask(self._admin, f"ALTER ROLE {self._name} PASSWORD '{verifier(self._target.password)}'")
                done.changed.append(f"password of user {self._wanted.user}")
                version = postgres.check(place, timeout)
        return version


def _database(admin: Connection, name: str, done: Done) -> bool:
    """Makes the database, for its own users only; gives whether it was there, and open to everybody."""
    if ask(admin, "SELECT 1 FROM pg_catalog.pg_database WHERE datname = :name", name=name):
        return bool(ask(admin, _EVERYBODY_CONNECTS, database=name))
    ask(admin, f"CREATE DATABASE {identifier(name)}")
    done.created.append(f"database {name}")
    ask(admin, _closing(name))
    return False


def _close(admin: Connection, wanted: Setup, target: Target, name: str, timeout: float, done: Done) -> None:
    """One that is there keeps who may connect, unless a run of ours was cut off before it closed it."""
    if ask(admin, _NEVER_CLOSED, database=name):
        inside = _admin(target, wanted, timeout, name)
        try:
            empty = not ask(inside, _ANYTHING_INSIDE)
        finally:
            postgres.close(inside)
        if empty:
            ask(admin, _closing(name))
            done.changed.append(f"database {name}, which was empty: closed to other users")
            return
    done.notices.append(f"every user of this server may connect to database {name}, which was there before")


def _closing(name: str) -> str:
    return f"REVOKE ALL ON DATABASE {identifier(name)} FROM PUBLIC"


def _prove(admin: Connection, wanted: Setup, target: Target, timeout: float, done: Done) -> None:
    """Asks as the role: there is no table in another database that it could read."""
    rows = ask(admin, "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1")
    for name in _others(rows, wanted):
        try:
            other = postgres.connect(wanted.as_user(target, name), timeout)
        except Denied:
            continue
        try:
            count = int(str(ask(other, _READABLE)[0][0]))
        finally:
            postgres.close(other)
        if count:
            tables = f"{count} table{'s' * (count != 1)}"
            done.notices.append(f"user {wanted.user} can read {tables} of database {name}, which is not ours")


def _others(rows: Sequence[Sequence[object]], wanted: Setup) -> list[str]:
    return [str(row[0]) for row in rows if row[0] not in wanted.databases]
