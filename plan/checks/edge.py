"""The edge: settings of it where there is none, TLS that could not be, memory for its connections (issue 5)."""

from __future__ import annotations

from collections.abc import Iterator

from plan.models import ACME_PORT, EdgePlan, EnvironmentPlan, ServicePlan
from plan.problems import Notice, Problem
from plan.semantic import LEAST_CONNECTIONS, show_bytes
from plan.sums import edge_holds, edge_takes, room


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """What nobody would see that it does nothing, and what the edge can't do."""
    if plan.edge is None:
        yield from _without_an_edge(plan)
        return
    if "edge.image_from" in plan.said and "edge.image" not in plan.said:
        wrong = "says where an image comes from, and none is named"
        yield Problem("edge.image_from", wrong, "add image, or drop this")
    for service in plan.services:
        if service.tls is not None:
            yield from _tls(plan.edge, service)
    yield from _memory(plan, plan.edge)


def _memory(plan: EnvironmentPlan, edge: EdgePlan) -> Iterator[Problem]:
    """Docker ends an edge that takes more than its limit: whoever holds all its connections would end it for all."""
    has, takes = edge.resources.memory, edge_takes(plan, edge.max_connections)
    if takes <= has:
        return
    right = f"write edge.memory: {show_bytes(takes, up=True)}"
    if has >= edge_takes(plan, LEAST_CONNECTIONS):
        right += f", or edge.max_connections: {edge_holds(plan)}"
    wrong = f"with {edge.max_connections} connections from outside the edge takes {show_bytes(takes, up=True)} at most"
    key = "edge.max_connections" if "edge.max_connections" in plan.said else "edge.memory"
    yield Problem(key, f"{wrong}, its limit is {show_bytes(has)}", right)


def _without_an_edge(plan: EnvironmentPlan) -> Iterator[Problem]:
    server = plan.runtime == "compose"
    if server:
        wrong, right = "there is no edge with `updates: recreate`", "drop it, or write `updates: rolling`"
    else:
        wrong, right = f"runtime {plan.runtime} has no edge: it is for servers", "drop it"
        if "updates" in plan.said:
            yield Problem("updates", f"runtime {plan.runtime} knows one way to update a service", "drop it")
    if "edge" in plan.said:
        yield Problem("edge", wrong, right)
    for service in plan.services:
        if service.tls is not None:
            yield Problem(f"{service.key}.tls", wrong, right)


def _tls(edge: EdgePlan, service: ServicePlan) -> Iterator[Problem]:
    if edge.certificates is None:
        wrong = "the edge has no certificate to answer with"
        yield Problem(f"{service.key}.tls", wrong, "add edge.certificates: the server's folder with the PEM files")
    if not service.public:
        wrong = f"nobody reaches {service.name} from outside: it isn't public"
        yield Problem(f"{service.key}.tls", wrong, "add `public: true`, or drop it")


def notices(plan: EnvironmentPlan) -> Iterator[Notice]:
    """What waits for another setting."""
    if plan.edge is not None:
        yield from _of_the_edge(plan, plan.edge)
        return
    how = "`updates: recreate`" if plan.runtime == "compose" else f"runtime {plan.runtime}"
    for key in sorted(plan.said):
        if key.endswith(".settle"):
            yield Notice(key, f"does nothing: with {how} a new version gets requests at once")


def _of_the_edge(plan: EnvironmentPlan, edge: EdgePlan) -> Iterator[Notice]:
    if all(service.tls is None for service in plan.services):
        if edge.certificates is not None:
            yield Notice("edge.certificates", "does nothing: no service has tls")
        if edge.acme_thumbprint is not None:
            text = f"opens port {ACME_PORT} to everybody for the first certificate: no service has tls yet"
            yield Notice("edge.acme_thumbprint", text)
    lacking = edge.resources.memory - room(plan)
    if lacking > 0:
        text = f"the host lacks {show_bytes(lacking, up=True)} for a second edge beside it"
        yield Notice("edge.memory", f"{text}, which takes over when its image or limits change")
