"""A real login and query on a database (P5, D16, E6), by that database's own client.

A client is imported only when a database of its kind is asked for, because each takes memory (D14). No text
that leaves this module holds a password; texts are one line and the same from run to run, as they become
observed labels.
"""

import importlib
import re
from collections.abc import Callable

from standin import mysql, overhttp, postgres, redisdb
from standin.target import Answer, Target
from standin.trouble import MAX_DETAIL, Missing, Refused, missing, network_detail, one_line

__all__ = [
    "KINDS",
    "MAX_DETAIL",
    "Answer",
    "Target",
    "answered",
    "bad_target",
    "check",
    "load_client",
    "network_detail",
    "one_line",
]

_CHECKS: dict[str, Callable[[Target, float], str]] = {
    "mysql": mysql.check,
    "mariadb": mysql.check,
    "redis": redisdb.check,
    "postgres": postgres.check,
    "neo4j": overhttp.neo4j,
    "elasticsearch": overhttp.elasticsearch,
    "weaviate": overhttp.weaviate,
}
_CLIENTS: dict[str, str] = {
    "mysql": "pymysql",
    "mariadb": "pymysql",
    "redis": "redis",
    "postgres": "pg8000.native",
}

#: The kinds that can be checked.
KINDS = tuple(_CHECKS)
#: The name of a database on one Neo4j server, a path segment here.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]*")


def bad_target(target: Target) -> str | None:
    """What is wrong with `target` before anything is asked of the network; None when nothing is."""
    if target.kind not in _CHECKS:
        return f"kind {target.kind!r} is unknown (known: {', '.join(KINDS)})"
    if not target.host:
        return "host is empty"
    if not 1 <= target.port <= 65535:
        return f"port {target.port} is not between 1 and 65535"
    if target.kind == "redis" and target.database and not target.database.isdecimal():
        return f"database {target.database!r} is not one of redis's numbers"
    if not _PLAIN_NAME.fullmatch(target.database):
        return f"database {target.database!r} is not a plain name"
    return None


def load_client(kind: str) -> None:
    """Imports the client for `kind` now, so that a first check doesn't spend its time on that."""
    if kind in _CLIENTS:
        importlib.import_module(_CLIENTS[kind])


def check(target: Target, timeout: float) -> Answer:
    """Logs in and asks one query; `timeout` in seconds is for each step on the network. Never raises for what
    it meets.

    `missing`: nothing answers, not in time, or not in that protocol. `refused`: the server says no.
    """
    wrong = bad_target(target)
    if wrong is not None:
        raise ValueError(wrong)
    return answered(target, lambda: _CHECKS[target.kind](target, timeout), (target.password,))


def answered(target: Target, ask: Callable[[], str], secrets: tuple[str, ...]) -> Answer:
    """The answer to what `ask` (which gives the version) meets on the way; none of `secrets` is in it."""
    try:
        version = ask()
    except Refused as error:
        return Answer(False, reason="refused", detail=_without(str(error), target, secrets))
    except Missing as error:
        return Answer(False, reason="missing", detail=_without(str(error), target, secrets))
    except Exception as error:  # noqa: BLE001 - clients raise KeyError, struct.error and more on a stranger's bytes
        return Answer(False, reason="missing", detail=str(missing(error, target.kind)))
    return Answer(True, version=one_line(version))


def _without(text: str, target: Target, secrets: tuple[str, ...]) -> str:
    """Servers don't repeat passwords; should one, it ends here."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 4 and secret != target.user:
            text = text.replace(secret, "***")
    return one_line(text)
