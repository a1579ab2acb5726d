"""The runtime `compose`: the documented compose file, block by block (P7, D5, D11, D14)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from plan.models import LOOPBACK, EnvironmentPlan, ServicePlan
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
        f"      {LABEL}.stack: {_name(plan.name)}\n"
        "    ipam:\n"
        "      config:\n"
        f"        - subnet: {plan.host.subnet}\n"
        f"          gateway: {gateway(plan)}\n"
        "services:\n"
    )


def publish_address(service: ServicePlan) -> str:
    """The host's address on which a service's port is published (D19)."""
    return "0.0.0.0" if service.public else LOOPBACK  # noqa: S104


def block(
    plan: EnvironmentPlan, service: ServicePlan, env: Mapping[str, str], secrets: Sequence[str], digest: str
) -> str:
    """One service's entry, indented to stand under `services:`; `secrets` are the names of its secret files."""
    bind = "" if service.public else f"{publish_address(service)}:"
    lines = [
        f"  {_name(service.name)}:",
        # Documented container names are the editions' (E2); a fixed name would keep two of one from running.
        *([f"    container_name: {_name(service.name)}"] if service.edition else []),
        f"    image: {_name(service.image)}",
        # Docker 20.10 doesn't bring `unless-stopped` ones back after its own crash (D25).
        "    restart: always",
        "    ports:",
        f"      - {_text(f'{bind}{service.port}:{service.port}')}",
        "    environment:",
        *(f"      {_name(name)}: {_text(value)}" for name, value in env.items()),
        *_env_files(secrets),
        *_volumes(service),
        f"    mem_limit: {service.resources.memory}",
        f"    memswap_limit: {service.resources.memory}",
        f"    cpus: {service.resources.cpus:g}",
        "    healthcheck:",
        f"      test: [{', '.join(_text(word) for word in health_test(service))}]",
        # hostctl judges a start itself, and often; this one watches, and each look starts a process.
        "      interval: 30s",
        "      timeout: 3s",
        "      retries: 3",
        f"      start_period: {service.health_timeout:g}s",
        f"    stop_grace_period: {service.stop_grace:g}s",
        # Docker's own default keeps every line that was ever logged.
        "    logging:",
        "      driver: json-file",
        '      options: {max-size: "10m", max-file: "3"}',
        *_depends_on(service),
        "    labels:",
        f"      {LABEL}.stack: {_name(plan.name)}",
        f"      {LABEL}.service: {_name(service.name)}",
        f"      {LABEL}.group: {service.group}",
        *([f"      {LABEL}.edition: {service.edition}"] if service.edition else []),
        f"      {LABEL}.definition: {_text(digest)}",
    ]
    return "\n".join(lines) + "\n"


def health_test(service: ServicePlan) -> list[str]:
    """How Docker asks a container whether it is alive; an image of the team's own has wget or curl in it."""
    if service.stand_in:
        return ["CMD", "python3", "-m", "standin.probe"]
    url = f"http://{LOOPBACK}:{service.port}/health"
    return ["CMD-SHELL", f"wget -q -O /dev/null {url} || curl -fsS -o /dev/null {url}"]


def _env_files(secrets: Sequence[str]) -> list[str]:
    """Secrets come from files that only root reads (D6); a service lists those that it needs."""
    return ["    env_file:", *(f"      - ./secrets/{name}.compose.env" for name in secrets)] if secrets else []


def _volumes(service: ServicePlan) -> list[str]:
    """What the service stores outlives its container: a folder of the layout (E4)."""
    return ["    volumes:", f"      - ./data/{service.name}:{CONTAINER_DATA}"]


def _depends_on(service: ServicePlan) -> list[str]:
    names = [_name(need.name) for need in service.needs]
    return ["    depends_on:", *(f"      - {name}" for name in names)] if names else []


_YAML_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""What docker-compose 1.29 (YAML 1.1) takes for something else than text."""


def _name(text: str) -> str:
    """A name as it is where YAML reads it as text, else in quotes."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./:@-]*", text) and text.lower() not in _YAML_WORDS
    return text if plain else _text(text)


def _text(value: str) -> str:
    """A YAML scalar that is read back as this very text; compose replaces `$`, so it is doubled."""
    return json.dumps(value.replace("$", "$$"), ensure_ascii=False)
