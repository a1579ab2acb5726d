"""Memory, CPU and disk: what everything takes against what the host has (D14)."""

from __future__ import annotations

from collections.abc import Iterator

from plan.models import EnvironmentPlan
from plan.problems import Notice, Problem
from plan.semantic import show_bytes
from plan.sums import Row, room, rows, total

_LEAST_WIDTH = 34


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
    """Memory nearly spent: nine tenths or more. Services of which a second one doesn't fit while they are updated."""
    takes, has = total(plan), plan.host.capacity
    if has.memory * 9 <= takes.memory * 10 <= has.memory * 10:
        text = f"everything takes {show_bytes(takes.memory)} of {show_bytes(has.memory)}"
        yield Notice("host.memory", text)
    free = room(plan)
    for service in plan.running:
        if service.behind is not None and not service.behind.rolling:
            lacking = show_bytes(service.resources.memory - free, up=True)
            text = f"the host lacks {lacking} for a second one beside it: an update stops it first, and loses requests"
            yield Notice(f"{service.key}.memory", text)


def table(plan: EnvironmentPlan) -> str:
    """The sum as a table, for a reader who has to lower something."""
    shown = [*rows(plan), Row("sum", total(plan)), Row(f"host {plan.host.address}", plan.host.capacity)]
    width = max(_LEAST_WIDTH, *(len(row.name) for row in shown))
    lines = [f"{'':{width}}{'cpus':>7}{'memory':>10}{'disk':>10}"]
    for row in shown:
        takes = row.takes
        lines.append(f"{row.name:{width}}{takes.cpus:>7g}{show_bytes(takes.memory):>10}{show_bytes(takes.disk):>10}")
    return "\n".join(lines)
