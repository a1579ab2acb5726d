"""The verbs `rollback` and `generations`: one service back to what it was before, with what this host has on record.

Nothing is built or pulled, and the control side knows nothing of it: the observed label tells, the next `up` goes
forward again.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from hostctl import service
from hostctl.console import say
from hostctl.context import Context
from hostctl.edge import FILE
from hostctl.errors import BadInput, HostctlError
from hostctl.forms import ServiceDefinition
from hostctl.generations import Generation, Record, orphaned
from hostctl.labels import label_of


def back(context: Context, name: str, to: Optional[int]) -> Dict[str, Any]:
    """Brings the previous generation up again, or the one asked for: one transaction, as `up` is.

    When it doesn't become healthy, the one before the rollback is put back. Raises BadInput where there is no such
    service or generation, HostctlError where another run is changing it, or it can't go back.
    """
    record = _record(context, name)
    pending = record["pending"]
    if pending is not None and not orphaned(record):
        message = "%s can't go back now: pid %d is changing it, since %d s; nothing was touched"
        raise HostctlError(message % (name, pending["owner"]["pid"], max(0.0, time.time() - pending["since"])))
    good = record["good"]
    if good is None:
        raise HostctlError("%s was never healthy here: there is nothing to go back to" % name)
    target = _previous(context, name, good) if to is None else _asked(context, name, good, to)
    definition, number = target["definition"], target["generation"]
    problems = [*_other_way(definition, context.store.good(name)), *context.runtime.service_problems(definition)]
    if problems:
        message = "%s can't go back to generation %d: %s; nothing was touched"
        raise HostctlError(message % (name, number, "; ".join(problems)))
    say("%s: from generation %d back to what generation %d was" % (name, good, number))
    label = label_of("rolled back to generation %d by hand" % number, good, record["label"])
    return service.bring(context, definition, label, "rollback", {"from": good, "to": number})


def _other_way(definition: ServiceDefinition, good: Optional[ServiceDefinition]) -> List[str]:
    """How a service is reached is the whole host's: its edge, its firewall. One service alone can't go back on that."""
    if good is None:
        return []
    if bool(definition["edge"]) != bool(good["edge"]):
        mode = "rolling" if definition["edge"] else "recreate"
        return [
            "it was made for `updates: %s`, which this host has no more: set that in the stack file, and `up`" % mode
        ]
    if _outside(definition) != _outside(good):
        how = "public" if _outside(definition) else "not public, or had tls"
        return ["it was %s then, and the edge and the firewall go by how it is now: set that in the stack file" % how]
    return []


def _outside(definition: ServiceDefinition) -> bool:
    """Whether its own section of the edge's configuration takes requests from outside."""
    text = "".join(part["text"] for part in definition["parts"] if part["file"] == FILE)
    return "frontend %s.outside " % definition["name"] in text


def generations(context: Context, name: str) -> List[Dict[str, Any]]:
    """Every generation that is kept, the newest first. Definitions are never secret, and neither is this."""
    record = _record(context, name)
    pending = record["pending"]
    return [
        {
            "generation": one["generation"],
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one["when"])),
            "good": one["good"] or one["generation"] == record["good"],
            "serves": one["generation"] == record["good"],
            "changing": pending is not None and pending["generation"] == one["generation"],
            "image": one["definition"]["launch"]["image"],
            "digest": one["definition"]["digest"],
        }
        for one in reversed(context.store.history(name))
    ]


def table(rows: List[Dict[str, Any]]) -> str:
    """The same for people."""
    lines = [["GENERATION", "WHEN", "STATE", "DIGEST", "IMAGE"]]
    for row in rows:
        state = "good" if row["good"] else "never healthy"
        state = "changing" if row["changing"] else "serves" if row["serves"] else state
        lines.append([str(row["generation"]), row["when"], state, row["digest"], row["image"] or "-"])
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def _record(context: Context, name: str) -> Record:
    record = context.store.record(name) if context.on_host() else None
    if record is None:
        raise BadInput("%s is no service of this host" % name)
    return record


def _previous(context: Context, name: str, good: int) -> Generation:
    found = context.store.previous(name)
    if found is None:
        message = "%s has no generation before %d that was healthy and said something else: nothing to go back to"
        raise HostctlError(message % (name, good))
    return found


def _asked(context: Context, name: str, good: int, to: int) -> Generation:
    kept = {one["generation"]: one for one in context.store.history(name)}
    if to not in kept:
        known = ", ".join(map(str, sorted(kept)))
        raise BadInput("generation %d of %s is not kept; there are: %s" % (to, name, known))
    if kept[to]["definition"] == context.store.good(name):
        raise BadInput("generation %d of %s is what generation %d is, which serves: see `restart`" % (to, name, good))
    return kept[to]
