"""The environment that one service gets: only what it needs (docs/contracts.md)."""

from __future__ import annotations

from collections.abc import Mapping

from plan import catalog
from plan.models import LOOPBACK, DatabasePlan, DatabaseState, EnvironmentPlan, ServicePlan
from plan.network import gateway_of

States = Mapping[str, DatabaseState]
"""How each database is had; one that isn't named is reused."""

CONTAINER_DATA = "/data"
DOCKER_HOST = "host.docker.internal"
"""Docker's own name for the laptop; its network's gateway is a virtual machine on macOS."""


def service_environment(plan: EnvironmentPlan, service: ServicePlan, states: States) -> dict[str, str]:
    """Name -> value, in a fixed order, nothing secret. The service's own settings come last: none of these (checks)."""
    process = plan.runtime == "process"
    port = str(service.port)
    env = {
        "SERVICE_NAME": service.name,
        "SERVICE_PORT": port,
        "PORT": port,
        "SERVICE_BIND": LOOPBACK if process else "0.0.0.0",  # noqa: S104 - inside its container only
        "SERVICE_ENVIRONMENT": plan.name,
        "SERVICE_DATA": f"{{root}}/data/{service.name}" if process else CONTAINER_DATA,
        "BLOCKCHAIN_MODE": plan.mode,
        "BLOCKCHAIN_CHAIN": ",".join(chain.name for chain in plan.chains),
    }
    if service.edition is None:
        env[catalog.env_key(service.name)] = port
    else:
        env["SERVICE_EDITION"] = service.edition
    if service.stand_in:
        env["SERVICE_STAND_IN"] = "1"
    if service.debug_port is not None:
        env["SERVICE_DEBUG_PORT"] = str(service.debug_port)
    if service.needs:
        env["SERVICE_NEEDS"] = ",".join(f"{need.name}={need.url}" for need in service.needs)
        env.update({catalog.env_key(need.name): str(need.port) for need in service.needs})
    needed = [database for database in plan.databases if database.name in service.databases]
    if needed:
        env["SERVICE_DATABASES"] = ",".join(f"{d.name}={states.get(d.name, 'reused')}" for d in needed)
    for database in needed:
        env.update(_database_environment(plan, service, database))
    if service.chains:
        for chain in plan.chains:
            prefix = catalog.chain_prefix(chain.name)
            if chain.endpoint is not None:
                env[f"{prefix}_ENDPOINT"] = chain.endpoint
            if chain.chain_id is not None:
                env[f"{prefix}_CHAIN_ID"] = chain.chain_id
    env.update(service.env)
    return env


def _database_environment(plan: EnvironmentPlan, service: ServicePlan, database: DatabasePlan) -> dict[str, str]:
    prefix = catalog.database_prefix(database.name)
    host = _seen_from_services(plan, database) if database.local else database.host
    name = database.database
    if service.edition and database.kind == "mysql":
        name = catalog.edition_database(service.edition)
    env = {f"{prefix}_HOST": host, f"{prefix}_PORT": str(database.port), f"{prefix}_KIND": database.kind}
    if database.user:
        env[f"{prefix}_USER"] = database.user
    if name:
        env[f"{prefix}_DATABASE"] = name
    if database.admin is not None and database.kind == "redis":
        env[f"{prefix}_PREFIX"] = key_prefix(database)
    return env


def key_prefix(database: DatabasePlan) -> str:
    """What the names of all its keys start with, where its user reaches no others (D24)."""
    return f"{database.user}:"


def _seen_from_services(plan: EnvironmentPlan, database: DatabasePlan) -> str:
    """Where what runs on the host answers: containers can't reach the host's loopback."""
    # By number, not by name: clients take `localhost` for a socket file.
    here = LOOPBACK if database.host.casefold().endswith("localhost") else database.host
    seen = {"process": here, "docker": DOCKER_HOST, "compose": gateway(plan)}
    return seen[plan.runtime]


def gateway(plan: EnvironmentPlan) -> str:
    """The host's address on the services' network: the subnet's first."""
    return gateway_of(plan.host.subnet)


def secret_names(plan: EnvironmentPlan, service: ServicePlan) -> list[str]:
    """The secret files whose keys the service gets: its databases' and its chains' only (D6)."""
    names = [d.name for d in plan.databases if d.has_password and d.name in service.databases]
    if service.chains:
        names += [chain.name for chain in plan.chains if chain.has_credential]
    return names
