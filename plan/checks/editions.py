"""Editions: their documented containers, each in its own range (E1, E2, D2-D4)."""

from __future__ import annotations

from collections.abc import Iterator

from plan import catalog
from plan.models import EditionPlan, EnvironmentPlan
from plan.problems import Problem, suggest


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """Every edition that isn't the documented four containers in their ranges."""
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
        if not member.port:
            continue
        allowed = ranges.get(member.name)
        if allowed is None:
            wrong = f"edition {edition.name} has no such container"
            yield Problem(member.key, wrong, suggest(member.name, ranges))
        elif member.port not in allowed:
            wrong = f"{member.port} is outside {allowed}, the range of {member.name}"
            yield Problem(f"{member.key}.port", wrong, f"choose one of {allowed}, for example {allowed.first}")
