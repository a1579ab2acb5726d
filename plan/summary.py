"""What a stack says of itself: where everything answers, on which ports, for how much (P9)."""

from __future__ import annotations

from plan import catalog
from plan.models import LOOPBACK, EnvironmentPlan, ServicePlan


def endpoint(plan: EnvironmentPlan, service: ServicePlan) -> str:
    """The URL where a service answers: from outside when it is public, else on its host only (D19)."""
    host = plan.host.address if service.public else LOOPBACK
    scheme, port = ("http", service.port) if service.tls is None else ("https", service.tls)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def ports(plan: EnvironmentPlan) -> dict[str, int]:
    """Service -> port, of everything that the plan starts."""
    return {service.name: service.port for service in plan.running}


def costs() -> dict[str, int]:
    """What the documents say of a month: each environment, all of them, and the plan before (P9)."""
    each = dict(catalog.MONTHLY_COSTS_YUAN)
    return {**each, "all": sum(each.values()), "original": catalog.ORIGINAL_COST_YUAN}
