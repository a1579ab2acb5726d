"""Names that nothing knows, with the nearest one that is known."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from plan import catalog
from plan.images import REGISTRY
from plan.models import EnvironmentPlan
from plan.problems import Problem, nearest, shown, suggest
from plan.render import process

_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """Every name that is misspelt, or that can't be told what it is."""
    own = {service.name for service in plan.services if service.name not in catalog.SERVICES}
    there = {service.name for service in plan.services} | plan.services_off
    for name in sorted(own - plan.own_services):
        near = _absent(name, catalog.SERVICES, there)
        right = f"did you mean {near!r}?" if near else "say `own: true` if it is a service of your own"
        yield Problem(f"services.{name}", "the documents name no such service", right)
    yield from _clashes(plan)
    for database in plan.databases:
        if database.name not in catalog.DATABASE_KINDS and not database.kind_given:
            near = _absent(database.name, catalog.DATABASE_KINDS, {one.name for one in plan.databases})
            right = f"did you mean {near!r}? Otherwise add" if near else "add"
            wrong = "a database of this name needs its kind"
            yield Problem(f"databases.{database.name}", wrong, f"{right} kind, for example `kind: mysql`")
    for database in plan.databases:
        if database.container is not None and not _CONTAINER.fullmatch(database.container):
            wrong = f"{shown(database.container)} is no container's name"
            yield Problem(f"databases.{database.name}.container", wrong, "write its name, for example test-mysql")
    openable = {database.name for database in plan.databases} | {chain.name for chain in plan.chains}
    openable |= {database.admin_secret for database in plan.databases if database.admin is not None}
    if plan.beside(catalog.CONSUL) is not None:
        openable.add(catalog.CONSUL)
    if plan.images.login is not None:
        openable.add(REGISTRY)
    for name in sorted(set(plan.secret_names) - openable):
        yield Problem(f"secrets.{name}", "opens nothing in this stack", suggest(name, openable))
    for name in sorted(set(plan.chain_settings) - {chain.name for chain in plan.chains}):
        chains = ", ".join(chain.name for chain in plan.chains)
        yield Problem(f"chain_settings.{name}", f"chains lists {chains} only", f"add {name!r} to chains, or drop this")


def _absent(name: str, known: Iterable[str], there: Collection[str]) -> str | None:
    """The known name that may have been meant: the nearest, unless it has an entry of its own already."""
    near = nearest(name, known)
    return None if near in there else near


def _clashes(plan: EnvironmentPlan) -> Iterator[Problem]:
    """Services whose name, or whose documented key, is something else's."""
    names = {member.name: f"a container of edition {e.name}" for e in plan.editions for member in e.members}
    names[catalog.EDGE] = "what owns a server's documented ports (`updates: rolling`)"
    if plan.runtime == "process":
        names[process.RELOADER_NAME] = "what restarts services on a code change"
    keys = {f"{catalog.database_prefix(database.name)}_PORT": database.name for database in plan.databases}
    keys |= dict.fromkeys(("SERVICE_PORT", "SERVICE_DEBUG_PORT"), "every service itself")
    for service in plan.services:
        if service.name in names:
            yield Problem(service.key, f"is the name of {names[service.name]}", "choose another name")
        key = catalog.env_key(service.name)
        if key in keys:
            yield Problem(service.key, f"its key {key} is that of {keys[key]}", "choose another name")
