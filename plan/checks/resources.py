"""Memory, CPU and disk: what everything takes against what the host has (D14)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from plan.models import EnvironmentPlan, Resources
from plan.problems import Notice, Problem
from plan.semantic import show_bytes


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the sum: who takes what."""

    name: str
    takes: Resources


def rows(plan: EnvironmentPlan) -> list[Row]:
    """Who takes what on the host; an edition that is off costs nothing (D14)."""
    found = [Row("the system itself (host.reserve)", plan.host.reserve)]
    found += [Row(service.name, service.resources) for service in plan.running]
    found += [Row(database.name, database.resources) for database in plan.databases if database.local]
    found += [Row(existing.name, existing.resources) for existing in plan.existing]
    return found


def total(plan: EnvironmentPlan) -> Resources:
    """The sum of everything that runs on the host at one time."""
    result = Resources()
    for row in rows(plan):
        result += row.takes
    return result


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """One problem per resource that the host lacks."""
    takes, has = total(plan), plan.host.capacity
    if takes.memory > has.memory:
        wrong = f"everything takes {show_bytes(takes.memory, up=True)}, the host has {show_bytes(has.memory)}"
        over = show_bytes(takes.memory - has.memory, up=True)
        yield Problem("host.memory", wrong, f"lower limits by {over} (table below)")
    if takes.disk > has.disk:
        wrong = f"everything takes {show_bytes(takes.disk, up=True)}, the host has {show_bytes(has.disk)}"
        over = show_bytes(takes.disk - has.disk, up=True)
        yield Problem("host.disk", wrong, f"lower limits by {over} (table below)")
    # Sums of tenths: 0.1 * 12 must not exceed 1.2.
    if round(takes.cpus, 6) > has.cpus:
        wrong = f"everything takes {takes.cpus:g} cores, the host has {has.cpus:g}"
        yield Problem("host.cpus", wrong, f"lower limits by {round(takes.cpus - has.cpus, 6):g} (table below)")


def notices(plan: EnvironmentPlan) -> Iterator[Notice]:
    """Memory nearly spent: nine tenths or more."""
    takes, has = total(plan), plan.host.capacity
    if has.memory * 9 <= takes.memory * 10 <= has.memory * 10:
        text = f"everything takes {show_bytes(takes.memory)} of {show_bytes(has.memory)}"
        yield Notice("host.memory", text)


def table(plan: EnvironmentPlan) -> str:
    """The sum as a table, for a reader who has to lower something."""
    lines = [f"{'':34}{'cpus':>7}{'memory':>10}{'disk':>10}"]
    for row in [*rows(plan), Row("sum", total(plan)), Row(f"host {plan.host.address}", plan.host.capacity)]:
        takes = row.takes
        lines.append(f"{row.name:34}{takes.cpus:>7g}{show_bytes(takes.memory):>10}{show_bytes(takes.disk):>10}")
    return "\n".join(lines)
