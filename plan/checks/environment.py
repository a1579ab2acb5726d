"""A service's own settings: none that the program itself gives, and none that are passwords (D6, D13)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plan import catalog
from plan.models import EnvironmentPlan, ServicePlan
from plan.problems import Problem

_PREFIXES = ("SERVICE_", "BLOCKCHAIN_")
_SECRETS = {"_PASSWORD", "_CREDENTIAL"}
_LOOKS_SECRET = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|PRIVATE_?KEY|API_?KEY|CREDENTIALS?)$", re.IGNORECASE
)
"""Names of settings whose values nobody should read in a preview; `…_FILE` names a file and is fine (D6)."""


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """Every setting that would replace one of the program's, behind the back of the other checks."""
    openable = {database.name for database in plan.databases} | {chain.name for chain in plan.chains}
    members = [member for edition in plan.editions for member in edition.members]
    for service in (*plan.services, *members):
        needed = {catalog.env_key(need.name): need.name for need in service.needs}
        for key, _ in service.env:
            right = _instead(service, key, needed, openable)
            if right is not None:
                yield Problem(f"{service.key}.env.{key}", "is given by the program itself", right)
            elif _LOOKS_SECRET.search(key):
                cure = f"keep it in a file of its own and say {key}_FILE: settings stand in previews and in state"
                yield Problem(f"{service.key}.env.{key}", "looks like a secret, and would be in clear text", cure)


def _instead(service: ServicePlan, key: str, needed: dict[str, str], openable: set[str]) -> str | None:
    """What to say in place of such a setting; None for one of the service's own. Its value is never shown."""
    for end in _SECRETS:
        if key.startswith("BLOCKCHAIN_") and key.endswith(end):
            name = key.removeprefix("BLOCKCHAIN_").removesuffix(end).lower().replace("_", "-")
            return f"keep it encrypted, under secrets.{name if name in openable else 'NAME'}"
    if key in ("PORT", "SERVICE_PORT", catalog.env_key(service.name)):
        return f"say {service.key}.port instead"
    if key in needed:
        return f"say services.{needed[key]}.port instead"
    match key:
        case "BLOCKCHAIN_MODE":
            return "say mode instead"
        case "BLOCKCHAIN_CHAIN":
            return "say chains instead"
        case "SERVICE_DEBUG_PORT":
            return f"say {service.key}.debug_port instead"
        case _:
            known = key.startswith(_PREFIXES)
            return "choose a name that doesn't start with SERVICE_ or BLOCKCHAIN_" if known else None
