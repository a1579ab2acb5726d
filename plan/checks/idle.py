"""Settings that would do nothing, which nobody would notice (P1)."""

from __future__ import annotations

from collections.abc import Iterator

from plan.catalog import CONSUL, PROMETHEUS
from plan.models import EnvironmentPlan, ServicePlan
from plan.problems import Notice, Problem
from plan.render.process import INTERPRETERS


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """A reload that watches nothing, a debugger that can't be started or must not be."""
    for service in plan.services:
        debugged = service.debug_port is not None
        if debugged and plan.mode != "development":
            wrong = "a debugger, which runs what it is told, is for development only"
            yield Problem(f"{service.key}.debug_port", wrong, "drop it")
        if plan.runtime != "process" or service.command is None:
            continue
        if debugged and service.command[0] not in INTERPRETERS:
            right = "start with python, for example [python, main.py], or drop it"
            wrong = f"the debugger is Python's, and the command starts {service.command[0]!r}"
            yield Problem(f"{service.key}.debug_port", wrong, right)
        if _asks_for_reload(service) and service.folder is None:
            yield Problem(f"{service.key}.reload", "there is no folder to watch", "add folder, or drop it")


def notices(plan: EnvironmentPlan) -> Iterator[Notice]:
    """What waits for another runtime: a stack may change its runtime back and forth."""
    yield from _about_installs(plan)
    for existing in plan.existing:
        if existing.name in (CONSUL, PROMETHEUS) and not existing.local:
            text = f"services are told to the {existing.name} of their own host only, so to none here"
            yield Notice(f"existing.{existing.name}.host", text)
    if plan.runtime == "process":
        return
    for service in plan.services:
        if service.debug_port is not None:
            yield Notice(f"{service.key}.debug_port", f"does nothing: runtime {plan.runtime} starts no debugger")
        if _asks_for_reload(service):
            yield Notice(f"{service.key}.reload", f"does nothing: runtime {plan.runtime} watches no code")


def _about_installs(plan: EnvironmentPlan) -> Iterator[Notice]:
    host = plan.host
    if plan.runtime != "compose" and host.install_docker:
        yield Notice("host.install_docker", f"does nothing: runtime {plan.runtime} installs no Docker")
    if host.packages_mirror is not None and not (host.install_docker and plan.runtime == "compose"):
        yield Notice("host.packages_mirror", "does nothing: only what install_docker installs comes from there")


def _asks_for_reload(service: ServicePlan) -> bool:
    return service.reload and service.reload_given
