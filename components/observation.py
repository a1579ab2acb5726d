"""What a host was found to be, as labels that become part of the commands (design: drift)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pulumi

from components import remote
from components.outputs import together
from components.remote import login
from plan.labels import NOT_YET
from plan.models import EnvironmentPlan
from plan.render import database_definition
from plan.render.process import PYTHON

Labels = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Foreign:
    """A container of a documented name that is there and not ours (D18)."""

    name: str
    image: str
    running: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """The labels of one host, or the reason why there are none."""

    labels: pulumi.Output[Labels] | None
    reason: str | None
    unasked: frozenset[str] = frozenset()
    """Databases that nobody asked although somebody looked at the host."""
    adopts: tuple[Foreign, ...] = ()
    """Containers of documented names that are there and not ours, of every edition (D18)."""
    trouble: str = ""
    """Why the host's hostctl could not answer, although the host itself is there; empty otherwise."""
    clock_off: float = 0
    """Seconds that the host's clock is ahead of this machine's (negative: behind)."""

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

    def secret(self, owner: str) -> pulumi.Output[str] | None:
        """The label of an owner's secret file; None where nobody looked."""
        return self._named("secrets", owner)

    def database(self, name: str) -> pulumi.Output[str] | None:
        """A database's label; None where nobody looked, or nobody could ask."""
        return None if name in self.unasked else self._named("databases", name)

    def image(self, name: str) -> pulumi.Output[str] | None:
        """An image's label; None where nobody looked."""
        return self._named("images", name)

    def integration(self, name: str) -> pulumi.Output[str] | None:
        """Whether something that is somebody else's answers; empty when nobody has asked it yet."""
        if self.labels is None:
            return None
        return self.labels.apply(lambda found: str(found.get("integrations", {}).get(name, "")))

    def _named(self, kind: str, name: str) -> pulumi.Output[str] | None:
        if self.labels is None:
            return None
        # A label that was adopted may be empty; one that is missing belongs to what never converged, or is gone.
        return self.labels.apply(lambda found: str(found.get(kind, {}).get(name, found.get("absent", ""))))


def from_sources(plan: EnvironmentPlan) -> tuple[str, ...]:
    """hostctl on this machine, from its sources: what asks, or takes away, must not depend on what may be gone."""
    return (PYTHON, "-m", "hostctl", "--root", plan.host.layout.root)


def observe_here(
    plan: EnvironmentPlan,
    secrets: Mapping[str, pulumi.Output[str]],
    unasked: frozenset[str] = frozenset(),
) -> Observation:
    """Ask hostctl what this machine is like; it changes nothing, in previews too.

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
        pulumi.Output.unsecret(remote.read((*from_sources(plan), "observe"), passwords.apply(question))).apply(
            json.loads
        ),
        None,
        unasked,
    )


def observe_there(plan: EnvironmentPlan, environ: Mapping[str, str], now: float) -> Observation:
    """Ask the server's hostctl over one ssh connection, in previews too; without labels where it can't be asked.

    `now` is this machine's time in seconds. Without a pinned key, or an ssh-agent to log in with, nobody is asked.
    """
    if plan.host.host_key is None:
        return Observation.without("no host key is pinned")
    if not environ.get("SSH_AUTH_SOCK"):
        return Observation.without("no ssh-agent with your key (SSH_AUTH_SOCK): `make … SSH_KEY_FILE=…` starts one")
    words = (PYTHON, "-m", "hostctl.there", "observe", *login(plan.host), plan.host.layout.root)
    names = [member.name for edition in plan.editions for member in edition.members]
    answer: Labels = json.loads(remote.read_now(words, json.dumps({"containers": names})))
    if "unreachable" in answer:
        return Observation.without(str(answer["unreachable"]))
    if "bare" in answer:
        # Never the same twice: a host that lost everything must not look like the one that it was made of (0009).
        absent = f"{NOT_YET} (asked {datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ})"
        labels = pulumi.Output.from_input({"host": absent, "absent": absent})
        return Observation(labels, None, trouble=str(answer.get("why", "")))
    return Observation(
        pulumi.Output.from_input(answer),
        None,
        adopts=tuple(
            Foreign(name, str(one["image"]), bool(one["running"]))
            for name, one in sorted(answer.get("adopts", {}).items())
        ),
        clock_off=float(answer.get("now", now)) - now,
    )
