"""The rules over a plan: every problem at once, and what a reader should know besides.

One module per concern; each yields problems or notices and reads nothing but the plan.
"""

from __future__ import annotations

from plan.checks import admins, edge, editions, environment, host, idle, images, names, needs, ports, resources, safety
from plan.models import EnvironmentPlan
from plan.problems import Notice, Problem


def find_problems(plan: EnvironmentPlan) -> tuple[Problem, ...]:
    """Everything that stops this plan, sorted by the stack file's key; empty when it is sound."""
    found: set[Problem] = set()
    for rules in (ports, edge, needs, names, admins, editions, environment, host, idle, images, resources, safety):
        found.update(rules.problems(plan))
    return tuple(sorted(found))


def find_notices(plan: EnvironmentPlan) -> tuple[Notice, ...]:
    """Everything that a reader of this plan should know, sorted by the stack file's key."""
    found: set[Notice] = set()
    for rules in (ports, edge, idle, images, resources, safety):
        found.update(rules.notices(plan))
    return tuple(sorted(found))


__all__ = ["find_notices", "find_problems"]
