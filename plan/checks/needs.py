"""Dependencies: unknown, missing, cyclic (P5)."""

from __future__ import annotations

from collections.abc import Iterator

from plan import catalog
from plan.models import EnvironmentPlan, ServicePlan
from plan.problems import Problem, suggest


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """Every need that this plan can't meet."""
    here = {service.name for service in plan.services}
    databases = {database.name for database in plan.databases}
    for service in plan.services:
        yield from _services_needed(plan, service, here)
        for name in service.databases:
            if name not in databases:
                known = name in catalog.DATABASE_KINDS
                wrong = f"needs {name!r}, which {'this stack lacks' if known else 'nobody knows'}"
                right = f"add databases.{name}, or list others" if known else suggest(name, databases)
                yield Problem(f"{service.key}.databases", wrong, right)
    for circle in _circles(plan):
        path = " -> ".join(circle)
        right = f"drop one of them, for example {circle[1]!r} here"
        yield Problem(f"services.{circle[0]}.needs", f"the dependencies go in a circle: {path}", right)


def _services_needed(plan: EnvironmentPlan, service: ServicePlan, here: set[str]) -> Iterator[Problem]:
    for need in service.needs:
        if need.name in here:
            continue
        if need.name in plan.services_off:
            wrong = f"needs {need.name!r}, whose group is off"
            yield Problem(f"{service.key}.needs", wrong, "say `dao_group: true`, or list others")
            continue
        known = need.name in catalog.SERVICES
        wrong = f"needs {need.name!r}, which {'this stack lacks' if known else 'nobody knows'}"
        right = f"add services.{need.name}, or list others" if known else suggest(need.name, here - {service.name})
        yield Problem(f"{service.key}.needs", wrong, right)


def _circles(plan: EnvironmentPlan) -> Iterator[list[str]]:
    """Circles of needs, in the order in which they are needed, each from its first name back to it.

    No service is in two of them: who breaks one circle of several through the same service sees the next.
    """
    graph = {service.name: [need.name for need in service.needs] for service in plan.services}
    done: set[str] = set()
    told: set[str] = set()
    for root, needed in graph.items():
        path: dict[str, Iterator[str]] = {} if root in done else {root: iter(needed)}
        while path:
            here = next(reversed(path))
            name = next(path[here], None)
            if name is None:
                done.add(here)
                del path[here]
            elif name in path:
                names = list(path)
                circle = names[names.index(name) :]
                if told.isdisjoint(circle):
                    told.update(circle)
                    start = circle.index(min(circle))
                    yield [*circle[start:], *circle[:start], circle[start]]
            elif name in graph and name not in done:
                path[name] = iter(graph[name])
