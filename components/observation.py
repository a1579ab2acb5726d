"""What a host was found to be, as labels that become part of the commands (design: drift)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components import remote
from components.outputs import together
from plan.models import EnvironmentPlan
from plan.render import database_definition

Labels = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observation:
    """The labels of one host, or the reason why there are none."""

    labels: pulumi.Output[Labels] | None
    reason: str | None
    unasked: frozenset[str] = frozenset()
    """Databases that nobody asked although somebody looked at the host."""

    @classmethod
    def without(cls, reason: str) -> Observation:
        """Nobody looked at the host, because of `reason`."""
        return cls(None, reason)

    @property
    def host(self) -> pulumi.Output[str] | None:
        """The host's own label; None where nobody looked."""
        return None if self.labels is None else self.labels.apply(lambda found: str(found.get("host") or ""))

    def service(self, name: str) -> pulumi.Output[str] | None:
        """A service's label, empty when it never converged; None where nobody looked."""
        return self._named("services", name)

    def database(self, name: str) -> pulumi.Output[str] | None:
        """A database's label; None where nobody looked, or nobody could ask."""
        return None if name in self.unasked else self._named("databases", name)

    def _named(self, kind: str, name: str) -> pulumi.Output[str] | None:
        if self.labels is None:
            return None
        # A label that was adopted may be empty; one that is missing belongs to what never converged, or is gone.
        return self.labels.apply(lambda found: str(found.get(kind, {}).get(name, found.get("absent", ""))))


def observe_here(
    plan: EnvironmentPlan,
    words: tuple[str, ...],
    secrets: Mapping[str, pulumi.Output[str]],
    unasked: frozenset[str] = frozenset(),
) -> Observation:
    """Ask hostctl (called by `words`) what this machine is like; it changes nothing, in previews too.

    Databases in `unasked` are left out: a login with a password that nobody could open would only be refused.
    """
    asked_for = [database for database in plan.databases if database.name not in unasked]
    databases = {database.name: database_definition(plan, database) for database in asked_for}
    passwords = together({d.name: secrets[d.name] for d in asked_for if d.name in secrets})

    def question(known: Mapping[str, str]) -> str:
        asked = {"databases": databases, "secrets": {name: {"PASSWORD": value} for name, value in known.items()}}
        return json.dumps(asked, ensure_ascii=False)

    # The question may hold passwords, the answer never does: a label that were secret would hide in every
    # preview what differs, and make services' definitions secret with it.
    return Observation(
        pulumi.Output.unsecret(remote.read(words, passwords.apply(question))).apply(json.loads), None, unasked
    )
