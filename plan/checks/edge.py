"""The edge: settings of it where there is none, and TLS that could not be (issue 5)."""

from __future__ import annotations

from collections.abc import Iterator

from plan.models import EdgePlan, EnvironmentPlan, ServicePlan
from plan.problems import Notice, Problem


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
        if plan.edge.certificates is not None and all(service.tls is None for service in plan.services):
            yield Notice("edge.certificates", "does nothing: no service has tls")
        return
    how = "`updates: recreate`" if plan.runtime == "compose" else f"runtime {plan.runtime}"
    for key in sorted(plan.said):
        if key.endswith(".settle"):
            yield Notice(key, f"does nothing: with {how} a new version gets requests at once")
