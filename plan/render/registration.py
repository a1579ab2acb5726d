"""Telling what watches a host of its services: Consul's agent and Prometheus' file_sd, where they are reused (P3)."""

from __future__ import annotations

import json
from typing import Any

from plan import catalog
from plan.models import LOOPBACK, EdgePlan, EnvironmentPlan, ServicePlan


def register(plan: EnvironmentPlan, service: ServicePlan) -> dict[str, Any]:
    """Where hostctl registers the service once it is healthy; nothing where the host has no Consul agent."""
    # Behind TLS its documented port is the host's own, and Consul is told that one.
    outside = service.public and service.tls is None
    return _register(plan, plan.host.address if outside else LOOPBACK, service.group)


def register_edge(plan: EnvironmentPlan) -> dict[str, Any]:
    """The same for the edge."""
    return _register(plan, LOOPBACK, catalog.EDGE_GROUP)


def _register(plan: EnvironmentPlan, address: str, group: str) -> dict[str, Any]:
    consul = plan.beside(catalog.CONSUL)
    if consul is None or plan.runtime != "compose":
        return {}
    port = catalog.CONSUL_HTTP if catalog.CONSUL_HTTP in consul.ports else consul.ports[0]
    tags = [plan.name, group]
    return {"register": {"consul": f"http://{LOOPBACK}:{port}", "address": address, "tags": tags}}


def scraped(plan: EnvironmentPlan) -> bool:
    """Whether a Prometheus of the host reads its targets from a file of ours."""
    return plan.beside(catalog.PROMETHEUS) is not None and plan.runtime != "docker"


def targets_file(plan: EnvironmentPlan) -> str:
    """The name of that file."""
    return f"prometheus-blockchain-{plan.name}.yml"


def header(plan: EnvironmentPlan) -> str:
    """The file's top. Its first group is empty: the file is a list also while no service has converged."""
    return (
        "# Written by blockchain-dao (hostctl): what is edited here is overwritten by the next `up`.\n"
        "# Prometheus reads it again by itself once its configuration names it:\n"
        "#   scrape_configs:\n"
        f"#     - job_name: blockchain-{plan.name}\n"
        "#       file_sd_configs:\n"
        f"#         - files: [{plan.host.layout.root}/{targets_file(plan)}]\n"
        "- targets: []\n"
    )


def targets(plan: EnvironmentPlan, service: ServicePlan) -> str:
    """One service's group: where its /metrics are, and what it is."""
    return _group(plan, service.name, service.group, service.port)


def edge_targets(plan: EnvironmentPlan, edge: EdgePlan) -> str:
    """The same for the edge, whose /metrics are about the services behind it."""
    return _group(plan, catalog.EDGE, catalog.EDGE_GROUP, edge.port)


def _group(plan: EnvironmentPlan, name: str, group: str, port: int) -> str:
    labels = {"service": name, "stack": plan.name, "group": group}
    told = ", ".join(f"{key}: {json.dumps(value)}" for key, value in labels.items())
    return f'- targets: ["{LOOPBACK}:{port}"]\n  labels: {{{told}}}\n'
