"""What the host's firewall closes, and for whom not: the key `firewall` of its definition (D11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plan.catalog import EDGE
from plan.models import ACME_PORT, EnvironmentPlan

EVERYBODY, EVERYBODY_IPV6 = "0.0.0.0/0", "::/0"


def firewall(plan: EnvironmentPlan) -> dict[str, Any]:
    """Every port that this stack starts or reuses on its host, also those of editions that are off: they come back.

    What is declared as `existing` is somebody else's and stays as it is (D20). SSH's port is never among them:
    `checks.ports` refuses a plan in which anything else takes it.
    """
    by_port = {port: (owner, networks) for port, owner, networks in _ports(plan)}
    return {
        "ssh_port": plan.host.ssh_port,
        "network": plan.host.subnet,
        "ports": [
            {"port": port, "owner": owner, "open_to": _networks(networks)}
            for port, (owner, networks) in sorted(by_port.items())
        ],
    }


def _ports(plan: EnvironmentPlan) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    for service in plan.placed:
        open_to = service.open_to if service.public else ()
        yield service.port, service.name, () if service.tls is not None else open_to
        if service.tls is not None:
            yield service.tls, service.name, open_to
        for port in service.behind.ports if service.behind is not None else ():
            yield port, service.name, ()
    if plan.edge is not None:
        yield plan.edge.port, EDGE, ()
        if plan.edge.acme_thumbprint is not None:
            yield ACME_PORT, EDGE, (EVERYBODY,)
    for database in plan.databases:
        if database.local:
            for port in (database.port, *database.ports):
                yield port, database.name, database.open_to


def _networks(given: tuple[str, ...]) -> list[str]:
    """As given, without doubles. `0.0.0.0/0` is how a stack file says everybody: IPv6 is meant too."""
    everybody = (EVERYBODY_IPV6,) if EVERYBODY in given else ()
    return list(dict.fromkeys((*given, *everybody)))
