"""The runtime `compose`: the documented compose file, block by block (P7, D5, D11, D14)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from plan.models import LOOPBACK, EnvironmentPlan, Resources, ServicePlan
from plan.render.environment import CONTAINER_DATA, gateway

LABEL = "blockchain-dao"
"""Prefix of the container labels that tell what is ours (D5): never names."""


def network(plan: EnvironmentPlan) -> str:
    """The name of the services' network."""
    return f"blockchain-{plan.name}"


def header(plan: EnvironmentPlan) -> str:
    """The file's top: the services' network, on a subnet of its own so that the databases answer at its gateway."""
    return (
        "# Written by blockchain-dao (hostctl): what is edited here is overwritten by the next `up`.\n"
        "networks:\n"
        "  default:\n"
        f"    name: {network(plan)}\n"
        "    labels:\n"
        f"      {LABEL}.stack: {name(plan.name)}\n"
        "    ipam:\n"
        "      config:\n"
        f"        - subnet: {plan.host.subnet}\n"
        f"          gateway: {gateway(plan)}\n"
        "services:\n"
    )


def publish_address(service: ServicePlan) -> str:
    """The host's address on which a service's port is published (D19); behind the edge that owns the port itself."""
    if service.behind is not None:
        return service.behind.address
    return "0.0.0.0" if service.public else LOOPBACK  # noqa: S104


def block(
    plan: EnvironmentPlan, service: ServicePlan, env: Mapping[str, str], secrets: Sequence[str], digest: str
) -> str:
    """One service's entry, indented to stand under `services:`; `secrets` are the names of its secret files."""
    lines = [
        f"  {name(service.name)}:",
        # Documented container names are the editions' (E2). Behind an edge two of one run while it is updated, which
        # a fixed name forbids: hostctl gives it to the one that serves.
        *([f"    container_name: {name(service.name)}"] if service.edition and service.behind is None else []),
        f"    image: {name(service.image)}",
        # Docker 20.10 doesn't bring `unless-stopped` ones back after its own crash (D25).
        "    restart: always",
        "    ports:",
        f"      - {quoted(_published(service))}",
        "    environment:",
        *(f"      {name(key)}: {quoted(value)}" for key, value in env.items()),
        *_env_files(secrets),
        *_volumes(service),
        *limits(service.resources),
        *healthcheck(health_test(service), service.health_timeout),
        *stopping(service.stop_grace),
        *_depends_on(service),
        *labels(plan, service.name, service.group, digest, service.edition),
        *([f"      {LABEL}.container: {name(service.name)}"] if service.edition and service.behind is not None else []),
    ]
    return "\n".join(lines) + "\n"


def _published(service: ServicePlan) -> str:
    """Its port on the host's: behind the edge one of a pair, whichever another container of it hasn't."""
    if service.behind is not None:
        first, second = service.behind.ports
        return f"{service.behind.address}:{first}-{second}:{service.port}"
    bind = "" if service.public else f"{publish_address(service)}:"
    return f"{bind}{service.port}:{service.port}"


def limits(resources: Resources) -> list[str]:
    """A container's memory, without swap, and its share of the cores (D14)."""
    return [
        f"    mem_limit: {resources.memory}",
        f"    memswap_limit: {resources.memory}",
        f"    cpus: {resources.cpus:g}",
    ]


def healthcheck(test: Sequence[str], start_seconds: float) -> list[str]:
    """How Docker watches it. hostctl judges a start itself, and often; each look of this one starts a process."""
    return [
        "    healthcheck:",
        f"      test: {words(test)}",
        "      interval: 30s",
        "      timeout: 3s",
        "      retries: 3",
        f"      start_period: {start_seconds:g}s",
    ]


def stopping(grace_seconds: float) -> list[str]:
    """How long it may take to end, and how much of its log stays: Docker's own default keeps every line."""
    return [
        f"    stop_grace_period: {grace_seconds:g}s",
        "    logging:",
        "      driver: json-file",
        '      options: {max-size: "10m", max-file: "3"}',
    ]


def labels(plan: EnvironmentPlan, service: str, group: str, digest: str, edition: str | None = None) -> list[str]:
    """What tells that it is ours, and as what (D5)."""
    return [
        "    labels:",
        f"      {LABEL}.stack: {name(plan.name)}",
        f"      {LABEL}.service: {name(service)}",
        f"      {LABEL}.group: {group}",
        *([f"      {LABEL}.edition: {edition}"] if edition else []),
        f"      {LABEL}.definition: {quoted(digest)}",
    ]


def health_test(service: ServicePlan) -> list[str]:
    """How Docker asks a container whether it is alive; an image of the team's own has wget or curl in it."""
    if service.stand_in:
        return ["CMD", "python3", "-m", "standin.probe"]
    url = f"http://{LOOPBACK}:{service.port}/health"
    return ["CMD-SHELL", f"wget -q -O /dev/null {url} || curl -fsS -o /dev/null {url}"]


def _env_files(secrets: Sequence[str]) -> list[str]:
    """Secrets come from files that only root reads (D6); a service lists those that it needs."""
    return ["    env_file:", *(f"      - ./secrets/{owner}.compose.env" for owner in secrets)] if secrets else []


def _volumes(service: ServicePlan) -> list[str]:
    """What the service stores outlives its container: a folder of the layout (E4)."""
    return ["    volumes:", f"      - ./data/{service.name}:{CONTAINER_DATA}"]


def _depends_on(service: ServicePlan) -> list[str]:
    names = [name(need.name) for need in service.needs]
    return ["    depends_on:", *(f"      - {needed}" for needed in names)] if names else []


_YAML_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""What docker-compose 1.29 (YAML 1.1) takes for something else than text."""


def name(text: str) -> str:
    """A name as it is where YAML reads it as text, else in quotes."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./:@-]*", text) and text.lower() not in _YAML_WORDS
    return text if plain else quoted(text)


def words(given: Sequence[str]) -> str:
    """A command as a YAML list."""
    return f"[{', '.join(quoted(word) for word in given)}]"


def quoted(value: str) -> str:
    """A YAML scalar that is read back as this very text; compose replaces `$`, so it is doubled."""
    return json.dumps(value.replace("$", "$$"), ensure_ascii=False)
