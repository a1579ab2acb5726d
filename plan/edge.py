"""The edge of a plan: what owns the documented ports, which services are behind it, and how these are updated."""

from __future__ import annotations

import dataclasses

from plan.catalog import EDGE_GROUP, SUB_RANGES
from plan.images import run_as, source_of
from plan.models import Behind, EdgePlan, EnvironmentPlan, ImagesPlan, Resources, ServicePlan, pair_of
from plan.settings import Settings
from plan.sums import edge_holds, room

_PORT_OFFSET = SUB_RANGES["local"][EDGE_GROUP][1]
"""The last port of the documents' sub-range for its group, in every environment (P10)."""


def has_edge(settings: Settings) -> bool:
    """Whether services are behind an edge; a laptop's containers and processes have none."""
    return settings.runtime == "compose" and settings.updates == "rolling"


def edge_plan(settings: Settings, images: ImagesPlan) -> EdgePlan | None:
    """The edge itself, where there is one."""
    if not has_edge(settings):
        return None
    given, ports = settings.edge, settings.range
    return EdgePlan(
        image=run_as(given, settings, images),
        reference=given.image or images.edge,
        image_from=source_of(given, images),
        port=min(ports.first + _PORT_OFFSET, ports.last) if given.port is None else given.port,
        resources=Resources(given.cpus, given.memory, given.disk),
        max_connections=given.max_connections or 0,
        timeout=given.timeout,
        certificates=given.certificates,
        acme_thumbprint=given.acme_thumbprint,
    )


def behind(port: int, gateway: str | None) -> Behind | None:
    """Where the edge finds a service of this port; None where there is no edge, and so no gateway to it."""
    return None if gateway is None else Behind(gateway, pair_of(port), rolling=True)


def said(settings: Settings) -> frozenset[str]:
    """The keys about updates that the stack file says, whatever it says there."""
    keys = settings.model_fields_set & {"updates", "edge"}
    keys |= {f"edge.{key}" for key in settings.edge.model_fields_set}
    places = {"defaults": settings.defaults, **{f"services.{name}": one for name, one in settings.services.items()}}
    keys |= {f"{place}.settle" for place, one in places.items() if "settle" in one.model_fields_set}
    return frozenset(keys)


def with_room(plan: EnvironmentPlan) -> EnvironmentPlan:
    """The plan in which memory decides: how many connections the edge has, unless they are given; which services are
    updated beside their old container, as the host holds a second one."""
    if plan.edge is not None and not plan.edge.max_connections:
        plan = dataclasses.replace(plan, edge=dataclasses.replace(plan.edge, max_connections=edge_holds(plan)))
    free = room(plan)
    editions = tuple(
        dataclasses.replace(
            edition,
            services=tuple(_with_room(one, free) for one in edition.services),
            shared=_with_room(edition.shared, free),
        )
        for edition in plan.editions
    )
    services = tuple(_with_room(one, free) for one in plan.services)
    return dataclasses.replace(plan, services=services, editions=editions)


def _with_room(service: ServicePlan, free: int) -> ServicePlan:
    if service.behind is None:
        return service
    rolling = service.resources.memory <= free
    return dataclasses.replace(service, behind=dataclasses.replace(service.behind, rolling=rolling))
