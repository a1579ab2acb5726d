"""The verbs `database` and `remove-database`: setting up and remembering what is reused (P2, P3, D16, D18)."""

from __future__ import annotations

from typing import Any, Dict, Optional

from hostctl import audit, containers, files, labels, recovery, transaction
from hostctl.client import Found, check
from hostctl.console import say
from hostctl.containers import Place
from hostctl.context import Context, DatabaseRecord, HostRecord
from hostctl.errors import BadInput, HostctlError
from hostctl.forms import DatabaseDefinition
from hostctl.launch import ADMIN_SECRET
from hostctl.layout import remove, write_json
from hostctl.redact import former_secrets, read_secrets


def converge(
    context: Context,
    definition: DatabaseDefinition,
    observed: Optional[str],
    look: containers.Inspect = containers.inspect,
) -> Dict[str, Any]:
    """Sets the database up where an admin is given, checks it and remembers it. Nothing in it is changed."""
    name = definition["name"]
    host = context.host()
    if definition["environment"] != host["definition"]["environment"]:
        raise BadInput("%s is for the environment '%s'" % (name, definition["environment"]))
    files.require_fitting(context, host, "database", name, definition["parts"])
    where = Place("", "")
    if definition["container"]:
        where = containers.place(name, definition["container"], definition["ports"], look)
    secrets = read_secrets(context.layout, name) if definition["secret"] else {}
    found = _checked(context, host, definition, secrets)
    _require_as_observed(host, name, found, observed)
    if found.state != "reused" and definition["when_missing"] == "fail":
        raise HostctlError(_insisted(definition, found))
    state = "reused" if found.state == "reused" else "embedded"
    detail = found.detail if found.state == "reused" else found.label
    if state == "embedded":
        say("warning: %s can't be used (%s); an embedded store is used instead" % (name, found.label))
    before = context.databases().get(name)
    record: DatabaseRecord = {
        "definition": definition,
        "state": state,
        "detail": detail,
        "found": found.label,
        "label": _adopted(found, observed),
        "container": where.id,
    }
    with context.lock.held():
        write_json(context.layout.databases / (name + ".json"), record)
        _render(context)
    told = _told(definition, before, where, found)
    audit.record(context.layout, "database", name, state, detail=detail, **told)
    return dict({"name": name, "state": state, "detail": detail}, **told)


def rotate(context: Context, name: str, secrets: Dict[str, str]) -> bool:
    """Gives a database's user the password of these secrets, where an admin can; False where there is nothing to do.

    Before the services get it: those that start with a password that the database doesn't take yet would not
    become healthy, and the old one would be put back. Without an admin, a password that a database which must be there
    refuses goes no further either.
    """
    record = context.databases().get(name) if context.on_host() else None
    if record is None or "PASSWORD" not in secrets or former_secrets(context.layout, name) == secrets:
        return False
    if "setup" not in record["definition"]["check"]["input"]:
        _require_open(context, record, secrets)
        return False
    found = _checked(context, context.host(), record["definition"], secrets)
    if found.state != "reused":
        raise HostctlError(
            "the password of %s could not be changed (%s); services keep the old one" % (name, found.label)
        )
    return True


def _require_open(context: Context, record: DatabaseRecord, secrets: Dict[str, str]) -> None:
    definition = record["definition"]
    if definition["when_missing"] != "fail":
        return  # on a laptop what it opens is looked at in every preview
    found = _checked(context, context.host(), definition, secrets)
    if found.state == "refused":
        message = "%s does not take this password (%s); the old one stays, and nothing was restarted"
        raise HostctlError(message % (definition["name"], found.label))


def forget(context: Context, name: str) -> Dict[str, Any]:
    """Forgets a database: its lines in the env file go, the database stays as it is."""
    if not context.on_host() or name not in context.databases():
        return {"name": name, "outcome": "absent"}
    with context.lock.held():
        remove(context.layout.databases / (name + ".json"))
        _render(context)
    audit.record(context.layout, "remove-database", name, "removed")
    return {"name": name, "outcome": "removed"}


def _checked(context: Context, host: HostRecord, definition: DatabaseDefinition, secrets: Dict[str, str]) -> Found:
    """Runs the client; what it made on the way is on record, also where it could not go on."""
    name = definition["name"]
    found = check(host["base"], definition, secrets, _admin(context, definition))
    if found.created or found.changed:
        done = {"created": list(found.created), "changed": list(found.changed)}
        audit.record(context.layout, "setup-database", name, "changed", **done)
    for text in [*("created " + one for one in found.created), *("changed " + one for one in found.changed)]:
        say("%s: %s" % (name, text))
    for text in found.notices:
        say("notice: %s: %s" % (name, text))
    return found


def _admin(context: Context, definition: DatabaseDefinition) -> Optional[str]:
    """The password of the admin who sets it up; None where none is given."""
    if "setup" not in definition["check"]["input"]:
        return None
    owner = definition["name"] + ADMIN_SECRET
    secrets = read_secrets(context.layout, owner)
    if "PASSWORD" not in secrets:
        raise HostctlError(
            "the password of %s's admin is not here: `hostctl secrets %s` first" % (definition["name"], owner)
        )
    return secrets["PASSWORD"]


def _insisted(definition: DatabaseDefinition, found: Found) -> str:
    name, asked = definition["name"], definition["check"]["input"]
    where = "%s on %s:%s can't be used (%s)" % (name, asked.get("host"), asked.get("port"), found.label)
    cure = "set databases.%s.user and its password under secrets.%s right" % (name, name)
    if found.state != "refused":
        cure = "start it, or set databases.%s.host and databases.%s.port right" % (name, name)
    return "databases.%s: %s, and it has to be there (when_missing: fail); %s" % (name, where, cure)


def _require_as_observed(host: HostRecord, name: str, found: Found, observed: Optional[str]) -> None:
    """What a preview showed must hold, where services are made according to it.

    A server's services never fall back to another store, and its preview only looks whether the port answers.
    """
    if host["definition"]["runtime"] == "compose" or not observed or found.label == labels.found(observed):
        return
    message = "%s is '%s' now, but was '%s' when it was previewed: preview again"
    raise HostctlError(message % (name, found.label, observed))


def _adopted(found: Found, observed: Optional[str]) -> str:
    """The label to answer while all stays as it is; one that says another state would hide what is."""
    if not observed:
        return found.label
    said = labels.found(observed)
    return observed if not said or said.startswith(found.state) else found.label


def _told(
    definition: DatabaseDefinition, before: Optional[DatabaseRecord], where: Place, found: Found
) -> Dict[str, Any]:
    """What the result and the audit log say besides: a container is adopted once."""
    told: Dict[str, Any] = {key: list(getattr(found, key)) for key in ("created", "changed", "notices")}
    if where.notice:
        told["notices"].append(where.notice)
        say("notice: " + where.notice)
    if where.id and (before is None or before["container"] != where.id):
        told["adopted"] = definition["container"]
        say("%s: adopted the container %s as it is" % (definition["name"], definition["container"]))
    return {key: value for key, value in told.items() if value}


def _render(context: Context) -> None:
    transaction.Batch(context, []).run(recovery.adopt(context, set()))
    files.render(context)
