"""The verb `reload-edge`: the edge reads its files again, certificates too; requests under way are finished.

For whoever renews the team's certificates (the deploy hook of an ACME client).
"""

from __future__ import annotations

from typing import Any, Dict

from hostctl import audit, compose_files, edge_certificates
from hostctl.compose_runtime import ComposeRuntime
from hostctl.context import Context
from hostctl.edge import EDGE, FILE
from hostctl.errors import BadInput, HostctlError
from hostctl.layout import read_text


def reload_edge(context: Context) -> Dict[str, Any]:
    """Checks first: what HAProxy would not take changes nothing. Raises HostctlError with its words."""
    definition = context.store.good(EDGE) if context.on_host() else None
    spec = context.host()["definition"]["compose"] if context.on_host() else None
    if definition is None or spec is None:
        raise BadInput("this host has no edge")
    runtime = ComposeRuntime(context.layout, context.lock)
    edge = runtime.edge()
    with context.lock.held():
        if edge.running() is None:
            raise HostctlError("the edge does not run: `pulumi up`, or `docker-compose -f %s up -d`" % spec["file"])
        block = compose_files.block_of(read_text(context.layout.root / spec["file"]) or "", EDGE)
        trouble = edge_certificates.problem(definition)
        trouble = trouble or edge.problem(read_text(context.layout.root / FILE) or "", block) or ""
        trouble = trouble or runtime.load_edge(always=True)
    audit.record(context.layout, "reload-edge", EDGE, "failed" if trouble else "reloaded", reason=trouble)
    if trouble:
        raise HostctlError("%s; it goes on as it was" % trouble)
    return {"name": EDGE, "outcome": "reloaded"}
