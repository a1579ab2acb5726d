"""The verbs `status`, `logs` and `watches`: for people, and for the reload on a code change."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from hostctl import paths
from hostctl.context import Context
from hostctl.errors import BadInput
from hostctl.health import probe
from hostctl.redact import redact, values_of

PROBE_SECONDS = 2.0


def services(context: Context) -> List[Dict[str, Any]]:
    """Every service with its state, pid, ports and health."""
    if not context.on_host():
        return []
    running = context.runtime.processes()
    rows: List[Dict[str, Any]] = []
    for name in context.store.names():
        record = context.store.record(name)
        definition = context.store.wanted().get(name) or context.store.good(name)
        if record is None or definition is None:
            continue
        process = (running or {}).get(name)
        trouble = process.detail if process else "the runtime is not running" if running is None else "not running"
        if process and process.state in ("running", "starting"):
            trouble = probe(definition["health"]["url"], PROBE_SECONDS)
        rows.append(
            {
                "name": name,
                "state": process.state if process else "stopped",
                "pid": process.pid if process else 0,
                "ports": definition["ports"],
                "healthy": not trouble and process is not None and process.state == "running",
                "detail": trouble,
                "generation": record["good"],
                "changing": record["pending"] is not None,
            }
        )
    return rows


def table(rows: List[Dict[str, Any]]) -> str:
    """The same for people."""
    if not rows:
        return "no services here\n"
    lines = [["SERVICE", "STATE", "PID", "PORTS", "HEALTH"]]
    for row in rows:
        ports = ",".join(map(str, row["ports"]))
        health = "healthy" if row["healthy"] else row["detail"] or "starting"
        lines.append([row["name"], row["state"], str(row["pid"] or "-"), ports or "-", health])
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), line[4]]).rstrip() + "\n"
        for line in lines
    )


def log_lines(context: Context, name: str, count: int) -> List[str]:
    """The last lines of a service's log, without its secrets (D6)."""
    if not context.on_host() or context.store.record(name) is None:
        raise BadInput("%s is no service of this host" % name)
    definition = context.store.wanted().get(name) or context.store.good(name)
    owners = [name, *(definition["secrets"] if definition else [])]
    return [redact(line, values_of(context.layout, owners)) for line in context.runtime.log_tail(name, count)]


def watches(context: Context) -> Dict[str, List[str]]:
    """The folders whose changes should restart a service."""
    if not context.on_host():
        return {}
    base = context.host()["base"]
    root = str(context.layout.root)
    return {
        name: [os.path.normpath(paths.under(base, paths.placed(path, root, base))) for path in found["reload"]]
        for name, found in context.store.wanted().items()
        if found["reload"]
    }
