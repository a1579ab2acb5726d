"""MySQL and MariaDB: a database, and a user that may do everything in it and nothing anywhere else (D24)."""

import ipaddress
from collections.abc import Iterable, Sequence

from standin import mysql
from standin.mysql import Connection, ask
from standin.setup_plan import Done, Setup, left_alone, not_its_password
from standin.target import Target
from standin.trouble import Refused, one_line

LOCALHOST = "localhost"
#: Databases that everybody may look into; they show each user only what is that user's.
_EVERYBODYS = {"information_schema", "performance_schema"}


def set_up(target: Target, wanted: Setup, timeout: float, done: Done) -> str:
    """See `setup.run`."""
    try:
        admin = mysql.connect(wanted.as_admin(target), timeout)
    except mysql.AccessDenied as error:
        raise Refused(f"the admin's login was refused: {error}") from error
    try:
        # What SHOW GRANTS quotes with must not depend on the server's modes.
        ask(admin, "SET SESSION sql_mode = ''")
        others = _databases(admin, wanted, done)
        accounts = _Accounts(admin, wanted, target.password)
        accounts.make(done)
        user = accounts.login(target, timeout, done)
        try:
            return _proved(user, wanted, others, done)
        finally:
            mysql.close(user)
    finally:
        mysql.close(admin)


def identifier(name: str) -> str:
    """A name as one identifier of a statement, whatever is in it."""
    if not name or "\0" in name:
        raise ValueError("no name of anything in MySQL")
    return "`" + name.replace("`", "``") + "`"


def pattern(database: str) -> str:
    """A database's name as GRANT takes it: there `_` and `%` stand for other characters unless escaped.

    Without this, who has `dao_users` has `daoXusers` too.
    """
    for special in ("\\", "_", "%"):
        database = database.replace(special, "\\" + special)
    return identifier(database)


def host_pattern(subnet: str) -> str:
    """The services' network as the host part of an account: 172.28.84.%, or with a mask where it ends elsewhere."""
    network = ipaddress.ip_network(subnet)
    if network.prefixlen in (8, 16, 24):
        parts = str(network.network_address).split(".")[: network.prefixlen // 8]
        return ".".join([*parts, "%"])
    return f"{network.network_address}/{network.netmask}"


def hosts(subnet: str, seen: str) -> list[str]:
    """Where the user may log in from: the services' network, the machine itself, and the address `seen`.

    A server in a container of its own, behind Docker's proxy, sees every client under another address than the
    client's own. The one that fits this client comes last, so that a login that works proves that all were made.
    """
    wanted = [LOCALHOST, *([host_pattern(subnet)] if subnet else [])]
    if seen == LOCALHOST:
        return [*wanted[1:], LOCALHOST]
    try:
        address = ipaddress.ip_address(seen)
    except ValueError:
        return wanted  # a name that the server found for an address
    return wanted if subnet and address in ipaddress.ip_network(subnet) else [*wanted, seen]


def foreign_grants(lines: Iterable[str], databases: Sequence[str]) -> tuple[list[str], set[str]]:
    """Of what SHOW GRANTS says (sql_mode empty): what isn't a grant of ours, and the databases that are had whole."""
    foreign: list[str] = []
    whole: set[str] = set()
    for line in lines:
        given = line.partition(" TO ")[0]  # behind it stand the user and, in MariaDB, a hash of the password
        ours = next((name for name in databases if _is_of(line, name)), None)
        if line.endswith(" WITH GRANT OPTION"):
            foreign.append(one_line(f"{given.removeprefix('GRANT ')} WITH GRANT OPTION"))
        elif ours is not None:
            if line.startswith(f"GRANT ALL PRIVILEGES ON {pattern(ours)}.* TO "):
                whole.add(ours)
        elif not line.startswith("GRANT USAGE ON *.* TO "):
            foreign.append(one_line(given.removeprefix("GRANT ")))
    return foreign, whole


def _is_of(line: str, database: str) -> bool:
    """Whether a line of SHOW GRANTS is about something in this database and nothing else."""
    return f" ON {pattern(database)}.* TO " in line or f" ON {identifier(database)}.`" in line


def _databases(admin: Connection, wanted: Setup, done: Done) -> list[str]:
    """Makes the databases that aren't there; gives the names of all that aren't ours."""
    rows = ask(admin, "SELECT @@lower_case_table_names")
    fold = str.casefold if rows and str(rows[0][0]) != "0" else str
    there = [str(row[0]) for row in ask(admin, "SHOW DATABASES")]
    known = {fold(name) for name in there}
    for name in wanted.databases:
        if fold(name) not in known:
            ask(admin, f"CREATE DATABASE IF NOT EXISTS {identifier(name)} CHARACTER SET utf8mb4")
            done.created.append(f"database {name}")
    ours = {fold(name) for name in wanted.databases}
    return [name for name in there if fold(name) not in ours and name.casefold() not in _EVERYBODYS]


class _Accounts:
    """The user's accounts: to MySQL `blockchain` from two places is two users."""

    def __init__(self, admin: Connection, wanted: Setup, password: str) -> None:
        self._admin, self._wanted, self._password = admin, wanted, password
        seen = str(ask(admin, "SELECT USER()")[0][0]).rpartition("@")[2]
        self._hosts = hosts(wanted.subnet, seen)
        self._foreign: dict[str, list[str]] = {}

    def make(self, done: Done) -> None:
        """Makes the accounts and grants that are missing; those with other grants than ours stay as they are."""
        user = self._wanted.user
        there = {str(row[0]) for row in ask(self._admin, "SELECT Host FROM mysql.user WHERE User = %s", (user,))}
        for host in self._hosts:
            if host not in there:
                ask(self._admin, "CREATE USER %s@%s IDENTIFIED BY %s", (user, host, self._password))
            self._grant(host)
        made = [host for host in self._hosts if host not in there]
        if made:
            done.created.append(f"user {user}" if not there else f"user {user} for {', '.join(made)}")
        for host in sorted(there - set(self._hosts)):
            done.notices.append(f"user {user} may also log in from '{host}': that account is not ours")
        # The same words for each account are one notice.
        done.notices += list(dict.fromkeys(left_alone(user, given) for given in self._foreign.values()))

    def _grant(self, host: str) -> None:
        lines = [str(row[0]) for row in ask(self._admin, "SHOW GRANTS FOR %s@%s", (self._wanted.user, host))]
        foreign, whole = foreign_grants(lines, self._wanted.databases)
        if foreign:
            self._foreign[host] = foreign
            return
        for name in self._wanted.databases:
            if name not in whole:
                # A percent sign of the name's own must not be taken for the place of a value.
                where = pattern(name).replace("%", "%%")
                ask(self._admin, f"GRANT ALL PRIVILEGES ON {where}.* TO %s@%s", (self._wanted.user, host))

    def login(self, target: Target, timeout: float, done: Done) -> Connection:
        """Logs in as the user; sets its password to the given one first where it has another (rotation)."""
        user = self._wanted.user
        try:
            return mysql.connect(self._wanted.as_user(target), timeout)
        except mysql.AccessDenied as error:
            if self._foreign:
                foreign = next(iter(self._foreign.values()))
                raise Refused(not_its_password(user, foreign)) from error
        for host in self._hosts:
            ask(self._admin, "ALTER USER %s@%s IDENTIFIED BY %s", (user, host, self._password))
        done.changed.append(f"password of user {user}")
        return mysql.connect(self._wanted.as_user(target), timeout)


def _proved(user: Connection, wanted: Setup, others: Sequence[str], done: Done) -> str:
    """Asks as the user: its own databases open, no other one does."""
    for name in wanted.databases:
        try:
            ask(user, f"USE {identifier(name)}")
        except Refused as error:
            raise Refused(f"user {wanted.user} can't use database {name}: {error}") from error
    for name in others:
        try:
            ask(user, f"USE {identifier(name)}")
        except Refused:
            continue
        done.notices.append(f"user {wanted.user} can read database {name}, which is not ours")
    return str(ask(user, "SELECT VERSION()")[0][0])
