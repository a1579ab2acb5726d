"""Who takes what of a host: the sum that must fit it, and what an update needs beside it (D14)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from plan.catalog import EDGE
from plan.models import EnvironmentPlan, Resources
from plan.semantic import LEAST_CONNECTIONS, MOST_CONNECTIONS

_KB, _MB = 10**3, 10**6
FORMER_WORKERS = 3
"""At most so many of the edge's go on with what they have begun, after changes of its configuration."""
_EDGE, _WORKER, _SERVICE, _CONNECTION, _TLS_CONNECTION = 6 * _MB, 3_700 * _KB, 40 * _KB, 55 * _KB, 45 * _KB
"""What HAProxy 2.6 takes, measured (decision 0027): at rest; a former worker; each service, in each worker; a
connection whose other end reads nothing, or writes too fast; and beyond that one of TLS."""
_SERVICES = 24
"""Counted as if there were: one service more is no other number of connections."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the sum: who takes what."""

    name: str
    takes: Resources


def rows(plan: EnvironmentPlan) -> list[Row]:
    """Who takes what on the host; an edition that is off costs nothing (D14).

    Of what is updated beside its old container the largest is there twice: one at a time is.
    """
    own = _ours(plan)
    twice = second(plan)
    if twice is not None:
        own.append(Row(f"a second {twice.name} while it is updated", Resources(memory=twice.takes.memory)))
    return own + _others(plan)


def total(plan: EnvironmentPlan) -> Resources:
    """The sum of everything that runs on the host at one time."""
    return _sum(rows(plan))


def room(plan: EnvironmentPlan) -> int:
    """Bytes of memory that the host has for a second container of anything; below 0 it lacks some anyway."""
    return plan.host.capacity.memory - _sum([*_ours(plan), *_others(plan)]).memory


def second(plan: EnvironmentPlan) -> Row | None:
    """The largest of what is updated beside its old container, and fits there; None where nothing is."""
    found = [
        Row(service.name, service.resources)
        for service in plan.running
        if service.behind is not None and service.behind.rolling
    ]
    if plan.edge is not None and plan.edge.resources.memory <= room(plan):
        found.append(Row(EDGE, plan.edge.resources))
    return max(found, key=lambda row: row.takes.memory, default=None)


def edge_holds(plan: EnvironmentPlan) -> int:
    """Connections from outside for which the edge's memory is enough, in tens; never less than the least."""
    assert plan.edge is not None
    left = plan.edge.resources.memory - edge_takes(plan, 0)
    held = left // (edge_takes(plan, 1) - edge_takes(plan, 0))
    return max(LEAST_CONNECTIONS, min(held // 10 * 10, MOST_CONNECTIONS))


def edge_takes(plan: EnvironmentPlan, connections: int) -> int:
    """Bytes that the edge of this plan takes at most, with so many connections from outside at one time."""
    assert plan.edge is not None
    services = max(len(plan.running), _SERVICES)
    workers = _EDGE + services * _SERVICE + FORMER_WORKERS * (_WORKER + services * _SERVICE)
    tls = connections * _TLS_CONNECTION if plan.edge.certificates is not None else 0
    return workers + 2 * connections * _CONNECTION + tls


def _ours(plan: EnvironmentPlan) -> list[Row]:
    found = [Row("the system itself (host.reserve)", plan.host.reserve)]
    found += [Row(service.name, service.resources) for service in plan.running]
    if plan.edge is not None:
        found.append(Row(EDGE, plan.edge.resources))
    return found


def _others(plan: EnvironmentPlan) -> list[Row]:
    found = [Row(database.name, database.resources) for database in plan.databases if database.local]
    return found + [Row(existing.name, existing.resources) for existing in plan.existing]


def _sum(found: Iterable[Row]) -> Resources:
    result = Resources()
    for row in found:
        result += row.takes
    return result
