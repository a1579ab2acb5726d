"""The verbs `database` and `remove-database`: remembering what is reused (P2, P3)."""

from __future__ import annotations

from typing import Any, Dict, Optional

from hostctl import audit, files, recovery, transaction
from hostctl.client import check
from hostctl.console import say
from hostctl.context import Context, DatabaseRecord
from hostctl.definitions import DatabaseDefinition
from hostctl.errors import BadInput, HostctlError
from hostctl.layout import remove, write_json
from hostctl.redact import read_secrets

NOT_YET = "; not converged yet"
"""Between what a check says and the word that nobody has remembered it here: see `observe.py`."""


def converge(context: Context, definition: DatabaseDefinition, observed: Optional[str]) -> Dict[str, Any]:
    """Checks the database and remembers it. It is never changed."""
    name = definition["name"]
    host = context.host()
    if definition["environment"] != host["definition"]["environment"]:
        raise BadInput("%s is for the environment '%s'" % (name, definition["environment"]))
    files.require_fitting(context, host, "database", name, definition["parts"])
    found = check(host["base"], definition, read_secrets(context.layout, name))
    if observed and found.label != observed.split(NOT_YET)[0]:
        message = "%s is '%s' now, but was '%s' when it was previewed: preview again"
        raise HostctlError(message % (name, found.label, observed))
    if found.state != "reused" and definition["when_missing"] == "fail":
        raise HostctlError("%s can't be used (%s), and the stack says when_missing: fail" % (name, found.label))
    state = "reused" if found.state == "reused" else "embedded"
    detail = found.detail if found.state == "reused" else found.label
    if state == "embedded":
        say("warning: %s can't be used (%s); an embedded store is used instead" % (name, found.label))
    record: DatabaseRecord = {
        "definition": definition,
        "state": state,
        "detail": detail,
        "found": found.label,
        "label": observed or found.label,
    }
    with context.lock.held():
        write_json(context.layout.databases / (name + ".json"), record)
        _render(context)
    audit.record(context.layout, "database", name, state, detail=detail)
    return {"name": name, "state": state, "detail": detail}


def forget(context: Context, name: str) -> Dict[str, Any]:
    """Forgets a database: its lines in the env file go, the database stays as it is."""
    if not context.on_host() or name not in context.databases():
        return {"name": name, "outcome": "absent"}
    with context.lock.held():
        remove(context.layout.databases / (name + ".json"))
        _render(context)
    audit.record(context.layout, "remove-database", name, "removed")
    return {"name": name, "outcome": "removed"}


def _render(context: Context) -> None:
    transaction.Batch(context, []).run(recovery.adopt(context, set()))
    files.render(context)
