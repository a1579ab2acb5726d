"""What the host's firewall closes, and for whom not: the key `firewall` of its definition (D11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plan.models import EnvironmentPlan

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
    members = [member for edition in plan.editions for member in edition.members if member.port]
    for service in (*plan.services, *members):
        yield service.port, service.name, service.open_to if service.public else ()
    for database in plan.databases:
        if database.local:
            for port in (database.port, *database.ports):
                yield port, database.name, database.open_to


def _networks(given: tuple[str, ...]) -> list[str]:
    """As given, without doubles. `0.0.0.0/0` is how a stack file says everybody: IPv6 is meant too."""
    everybody = (EVERYBODY_IPV6,) if EVERYBODY in given else ()
    return list(dict.fromkeys((*given, *everybody)))
