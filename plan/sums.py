"""Who takes what of a host: the sum that must fit it, and what an update needs beside it (D14)."""

from __future__ import annotations

from dataclasses import dataclass

from plan.catalog import EDGE
from plan.models import EnvironmentPlan, Resources


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the sum: who takes what."""

    name: str
    takes: Resources


def rows(plan: EnvironmentPlan) -> list[Row]:
    """Who takes what on the host; an edition that is off costs nothing (D14).

    Of the services that are updated beside their old container the largest is there twice: one at a time is.
    """
    found = [Row("the system itself (host.reserve)", plan.host.reserve)]
    found += [Row(service.name, service.resources) for service in plan.running]
    if plan.edge is not None:
        found.append(Row(EDGE, plan.edge.resources))
    if plan.surge is not None:
        second = Resources(memory=plan.surge.resources.memory)
        found.append(Row(f"a second {plan.surge.name} while it is updated", second))
    found += [Row(database.name, database.resources) for database in plan.databases if database.local]
    found += [Row(existing.name, existing.resources) for existing in plan.existing]
    return found


def total(plan: EnvironmentPlan) -> Resources:
    """The sum of everything that runs on the host at one time."""
    result = Resources()
    for row in rows(plan):
        result += row.takes
    return result


def room(plan: EnvironmentPlan) -> int:
    """Bytes of memory that the host has for the second container of a service; below 0 it lacks some anyway."""
    second = plan.surge.resources.memory if plan.surge is not None else 0
    return plan.host.capacity.memory - total(plan).memory + second
