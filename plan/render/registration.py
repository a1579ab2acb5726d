"""Telling what watches a host of its services: Consul's agent and Prometheus' file_sd, where they are reused (P3)."""

from __future__ import annotations

import json
from typing import Any

from plan import catalog
from plan.models import LOOPBACK, EnvironmentPlan, ServicePlan


def register(plan: EnvironmentPlan, service: ServicePlan) -> dict[str, Any]:
    """Where hostctl registers the service once it is healthy; nothing where the host has no Consul agent."""
    consul = plan.beside(catalog.CONSUL)
    if consul is None or plan.runtime != "compose":
        return {}
    port = catalog.CONSUL_HTTP if catalog.CONSUL_HTTP in consul.ports else consul.ports[0]
    address = plan.host.address if service.public else LOOPBACK
    tags = [plan.name, service.group]
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
    labels = {"service": service.name, "stack": plan.name, "group": service.group}
    told = ", ".join(f"{name}: {json.dumps(value)}" for name, value in labels.items())
    return f'- targets: ["{LOOPBACK}:{service.port}"]\n  labels: {{{told}}}\n'
