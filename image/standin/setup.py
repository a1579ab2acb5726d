"""Making a service's own database and its least-privilege user, for `python -m standin.dbcheck` (D16, D24).

Only what is missing is made, nothing is ever dropped, and what isn't ours is left as it is and said. A second
run changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from standin import setup_mysql, setup_postgres, setup_redis
from standin.setup_plan import Done, Setup
from standin.target import Target

__all__ = ["KINDS", "Done", "Setup", "bad_setup", "run"]

_Kind = Callable[[Target, Setup, float, Done], str]


@dataclass(frozen=True, slots=True)
class _Known:
    """How a kind is set up, and the names in it that are the server's own."""

    set_up: _Kind
    databases: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    longest: tuple[int, int] = (64, 32)
    """Longest name of a database and of a user."""
    unit: Callable[[str], int] = field(default=len)
    """How their length is counted."""


def _bytes(name: str) -> int:
    return len(name.encode())


_MYSQL = _Known(
    setup_mysql.set_up,
    databases=frozenset({"mysql", "information_schema", "performance_schema", "sys"}),
    users=frozenset({"root", "mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys"}),
)
_KNOWN: dict[str, _Known] = {
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "postgres": _Known(
        setup_postgres.set_up,
        databases=frozenset({"postgres", "template0", "template1"}),
        users=frozenset({"postgres", "public", "none"}),
        # PostgreSQL cuts a longer name without a word: two of them could be one.
        longest=(63, 63),
        unit=_bytes,
    ),
    "redis": _Known(setup_redis.set_up, users=frozenset({"default"}), longest=(0, 64)),
}
#: The kinds that can be set up.
KINDS = tuple(_KNOWN)


def bad_setup(target: Target, wanted: Setup) -> str | None:
    """What is wrong with `wanted` before anything is asked of the network, without a password; None when nothing is."""
    known = _KNOWN.get(target.kind)
    if known is None:
        return f"setup: kind {target.kind!r} can't be set up (only {', '.join(KINDS)})"
    if not wanted.admin or not wanted.user:
        return "setup: admin and user must be named"
    if wanted.user == wanted.admin or wanted.user.casefold() in known.users:
        return f"setup: user {wanted.user!r} is the server's own or the admin"
    if not target.password or not wanted.admin_password:
        return "setup: a password is missing"
    if target.kind == "redis":
        names = [(prefix, 64) for prefix in wanted.prefixes]
    else:
        names = [(name, known.longest[0]) for name in wanted.databases]
    if not names:
        return "setup: nothing to give the user"
    for name, longest in [*names, (wanted.user, known.longest[1])]:
        if not name or not name.isprintable() or known.unit(name) > longest:
            return f"setup: {name!r} is no name here (1 to {longest} printable characters)"
        if name.casefold() in known.databases and name != wanted.user:
            return f"setup: database {name!r} is the server's own"
    return None


def run(target: Target, wanted: Setup, timeout: float, done: Done) -> str:
    """Makes what is missing, proves the login, a query, and that nothing else is in reach; gives the version.

    `done` says what was made, also where this raises `Missing` or `Refused` half-way.
    """
    return _KNOWN[target.kind].set_up(target, wanted, timeout, done)
