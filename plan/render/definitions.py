"""The definitions that `hostctl` gets, and the files that it assembles of them."""

from __future__ import annotations

from hostctl.assemble import Part, assemble
from plan import catalog
from plan.models import DatabasePlan, EnvironmentPlan, ExistingPlan, ServicePlan
from plan.render import compose, edge, firewall, process, registration
from plan.render.environment import States, gateway, key_prefix, secret_names, service_environment
from plan.render.parts import BLOCKS, SCHEMA, Definition, amounts, digest, part

_BEYOND_DOCUMENTED = 1000
_AFTER_SERVICES = 100_000
_DATABASE_CHECK_SECONDS = 5
_CLIENT_SECONDS, _CONTAINER_CHECK_SECONDS = 20, 30
"""On a small server that starts twelve services, the client's own container alone may take ten; a setup takes steps."""


def host_definition(plan: EnvironmentPlan) -> Definition:
    """The host's own: which files there are, their tops, and what belongs to no service."""
    layout = plan.host.layout
    parts = [part(layout.env_file, 0, f"# {layout.env_file}\n")]
    chains = ",".join(chain.name for chain in plan.chains)
    parts.append(_env_line(plan, "BLOCKCHAIN_MODE", plan.mode, _AFTER_SERVICES + 1))
    parts.append(_env_line(plan, "BLOCKCHAIN_CHAIN", chains, _AFTER_SERVICES + 2))
    definition: Definition = {
        "schema": SCHEMA,
        "kind": "host",
        "name": plan.name,
        "environment": plan.name,
        "runtime": plan.runtime,
        "files": {layout.env_file: {"mode": "0644"}},
    }
    if plan.runtime == "process":
        definition["files"][process.SUPERVISOR_FILE] = {"mode": "0600"}
        definition["supervisord"] = process.SUPERVISORD
        parts.append(part(process.SUPERVISOR_FILE, 0, process.HEADER))
        if any(process.watched(plan, service) for service in plan.services):
            parts.append(part(process.SUPERVISOR_FILE, BLOCKS - 1, process.RELOADER))
            definition["reloader"] = process.RELOADER_ARGV
    else:
        definition["files"][layout.compose_file] = {"mode": "0644"}
        parts.append(part(layout.compose_file, 0, compose.header(plan)))
        definition["compose"] = {
            "file": layout.compose_file,
            "network": compose.network(plan),
            "subnet": plan.host.subnet,
            "gateway": gateway(plan),
        }
        definition["prerequisites"] = {
            "install": plan.host.install_docker,
            "mirror": plan.host.packages_mirror or "",
        }
        definition["firewall"] = firewall.firewall(plan)
    if plan.existing:
        definition["integrations"] = {one.name: _integration(one) for one in plan.existing}
    if registration.scraped(plan):
        file = registration.targets_file(plan)
        definition["files"][file] = {"mode": "0644"}
        parts.append(part(file, 0, registration.header(plan)))
    definition["parts"] = parts
    return definition


def _integration(existing: ExistingPlan) -> Definition:
    """What hostctl asks whether it answers (D20)."""
    return {"host": existing.host, "ports": list(existing.ports), "when_missing": existing.when_missing}


def service_definition(plan: EnvironmentPlan, service: ServicePlan, states: States | None = None) -> Definition:
    """One service's: what is launched, how it is judged, and its share of the files."""
    env = service_environment(plan, service, states or {})
    judged: Definition = {
        "secrets": secret_names(plan, service),
        "health": {
            "url": f"http://127.0.0.1:{service.port}/health",
            "timeout_seconds": service.health_timeout,
        },
        "stop": {"grace_seconds": service.stop_grace},
    }
    if plan.runtime == "process":
        argv, folder = process.command_of(service)
        judged["launch"] = {"argv": argv, "cwd": folder, "env": env}
    else:
        bind = compose.publish_address(service)
        limits = amounts(service.resources)
        judged["launch"] = {"image": service.image, "bind": bind, "env": env, "resources": limits}
    mark = _mark(plan, service, judged)
    parts: list[Part] = []
    if service.edition is None and service.group != "dao":
        parts.append(_env_line(plan, catalog.env_key(service.name), str(service.port), service.port))
    if plan.runtime == "process":
        parts.append(part(process.SUPERVISOR_FILE, BLOCKS, process.program(service, mark)))
    else:
        text = compose.block(plan, service, env, judged["secrets"], mark)
        parts.append(part(plan.host.layout.compose_file, BLOCKS, text))
    if registration.scraped(plan):
        parts.append(part(registration.targets_file(plan), BLOCKS, registration.targets(plan, service)))
    parts += edge.sections(plan, service)
    return {
        "schema": SCHEMA,
        "kind": "service",
        "name": service.name,
        "environment": plan.name,
        "runtime": plan.runtime,
        "digest": mark,
        **judged,
        # Not the debugger's: its helper process outlives the service by a moment and would look like a stranger.
        "ports": [service.port],
        "reload": process.watched(plan, service),
        **edge.behind_edge(service),
        **registration.register(plan, service),
        "parts": parts,
    }


def _mark(plan: EnvironmentPlan, service: ServicePlan, judged: Definition) -> str:
    """The digest of what is launched and judged; behind the edge of the whole block."""
    if service.behind is None:
        return digest(judged)
    return digest(judged, compose.block(plan, service, judged["launch"]["env"], judged["secrets"], ""))


def database_definition(plan: EnvironmentPlan, database: DatabasePlan) -> Definition:
    """One database's: how it is checked and set up, and its line in the documented env file."""
    slow = plan.runtime == "compose" or database.admin is not None
    parts: list[Part] = []
    if database.name in catalog.ENV_KEY_DATABASES:
        key = f"{catalog.database_prefix(database.name)}_PORT"
        parts.append(_env_line(plan, key, str(database.port), _AFTER_SERVICES))
    return {
        "schema": SCHEMA,
        "kind": "database",
        "name": database.name,
        "environment": plan.name,
        "when_missing": database.when_missing,
        "secret": database.has_password,
        "check": {
            **_client(plan),
            "input": {
                "kind": database.kind,
                "host": gateway(plan) if plan.runtime == "compose" and database.local else database.host,
                "port": database.port,
                "user": database.user,
                "database": database.database,
                **_setup(plan, database),
            },
            "timeout_seconds": _CONTAINER_CHECK_SECONDS if slow else _DATABASE_CHECK_SECONDS,
        },
        **_container(database),
        "parts": parts,
    }


def _setup(plan: EnvironmentPlan, database: DatabasePlan) -> Definition:
    """What the admin makes where it is missing; hostctl adds the admin's password (D16, D24)."""
    if database.admin is None:
        return {}
    wanted: Definition = {"admin": database.admin, "user": database.user}
    if database.kind == "redis":
        wanted["prefixes"] = [key_prefix(database)]
    else:
        editions = [catalog.edition_database(edition.name) for edition in plan.editions]
        wanted["databases"] = [database.database, *(editions if database.kind == "mysql" else [])]
    if plan.runtime == "compose" and database.kind == "mysql":
        wanted["subnet"] = plan.host.subnet
    return {"setup": wanted}


def _container(database: DatabasePlan) -> Definition:
    """The container that it runs in, and the ports that the container has to publish (D18)."""
    if database.container is None or not database.local:
        return {}
    return {"container": database.container, "ports": [database.port, *database.ports]}


def _client(plan: EnvironmentPlan) -> Definition:
    """What logs in: on a laptop from the project's own environment, on a server from where the services are."""
    module = ["-m", "standin.dbcheck"]
    if plan.runtime == "compose":
        # It is given passwords: an image of that name from a registry of anybody's must never run.
        run = ["docker", "run", "--rm", "-i", "--pull", "never", "--network", compose.network(plan)]
        return {"argv": [*run, plan.images.stand_in, "python3", *module, str(_CLIENT_SECONDS)], "cwd": "."}
    return {"argv": [process.PYTHON, *module], "cwd": process.STAND_IN_FOLDER}


def definitions(plan: EnvironmentPlan, states: States | None = None) -> dict[str, Definition]:
    """Every definition of a plan by a name of its own (`host`, `service/…`, `database/…`); the edge is a service."""
    found = {"host": host_definition(plan)}
    found |= {f"database/{d.name}": database_definition(plan, d) for d in plan.databases}
    if plan.edge is not None:
        found[f"service/{catalog.EDGE}"] = edge.edge_definition(plan, plan.edge)
    found |= {f"service/{s.name}": service_definition(plan, s, states) for s in plan.running}
    return found


def host_files(plan: EnvironmentPlan, states: States | None = None) -> dict[str, str]:
    """File name -> the text that the host has once everything of the plan has converged (P7)."""
    return assemble({name: definition["parts"] for name, definition in definitions(plan, states).items()})


def _env_line(plan: EnvironmentPlan, key: str, value: str, after: int = 0) -> Part:
    """A line of the documented env file, in the documented order (P4).

    What the document leaves out comes behind it by `after`, which depends on nothing but its owner:
    one service's change must not move another's line.
    """
    documented = catalog.DOCUMENTED_ENV_KEYS.get(plan.name, ())
    order = documented.index(key) + 1 if key in documented else _BEYOND_DOCUMENTED + after
    return part(plan.host.layout.env_file, order, f"{key}={value}\n")
