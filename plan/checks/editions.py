"""Editions: their documented containers (E1, E2)."""

from __future__ import annotations

from collections.abc import Iterator

from plan import catalog
from plan.models import EditionPlan, EnvironmentPlan
from plan.problems import Problem, suggest


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """Every edition that isn't the documented four containers; `ports` looks after their ranges."""
    if plan.edition is not None and plan.active_edition is None:
        right = suggest(plan.edition, [edition.name for edition in plan.editions])
        yield Problem("edition", f"{plan.edition!r} has no entry under editions", right)
    for edition in plan.editions:
        yield from _members(edition)


def _members(edition: EditionPlan) -> Iterator[Problem]:
    known = catalog.EDITIONS[edition.name]
    ranges = {**known.services, catalog.shared_service(edition.name): known.shared}
    key = f"editions.{edition.name}.services"
    present = {member.name for member in edition.members if member.port}
    for name in sorted(set(ranges) - present):
        yield Problem(key, f"{name!r} is missing", f"add {name} with a port of {ranges[name]}")
    for member in edition.members:
        if member.port and member.name not in ranges:
            wrong = f"edition {edition.name} has no such container"
            missing = set(ranges) - present
            right = suggest(member.name, missing) if missing else "drop it: all four are there"
            yield Problem(member.key, wrong, right)
