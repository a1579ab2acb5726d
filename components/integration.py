"""Something that is somebody else's and that this environment works with: asked, never touched (P2, P3, D20)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pulumi

from components import remote
from components.remote import Target
from plan.models import ExistingPlan

State = Literal["reachable", "missing", "unknown"]


@dataclass(frozen=True, slots=True)
class IntegrationArgs:
    """What an Integration needs."""

    existing: ExistingPlan
    target: Target
    label: pulumi.Output[str] | None
    """What the observation found: `reachable`, `missing: …`, empty; None where nobody looked."""
    token: pulumi.Output[str] | None = None
    """What opens it, for hostctl alone (Consul)."""


class Integration(pulumi.ComponentResource):
    """One of them; `state` is `reachable`, `missing`, or `unknown` where nobody has asked it."""

    TYPE = "blockchain:integrations:Integration"
    host: pulumi.Output[str]
    ports: pulumi.Output[list[int]]
    state: pulumi.Output[State]
    notice: pulumi.Output[str]
    """What a reader should know of it; empty when it answers."""

    def __init__(self, name: str, args: IntegrationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TYPE, name, None, opts)
        label = pulumi.Output.from_input("") if args.label is None else args.label
        self.host = pulumi.Output.from_input(args.existing.host)
        self.ports = pulumi.Output.from_input(list(args.existing.ports))
        self.state = label.apply(state_of)
        self.notice = label.apply(lambda found: notice_of(args.existing, found))
        if args.token is not None:
            remote.secret(name, remote.password(args.token), args.target, pulumi.ResourceOptions(parent=self))
        self.register_outputs({"host": self.host, "ports": self.ports, "state": self.state})


def state_of(label: str) -> State:
    """How it was found."""
    if label == "reachable":
        return "reachable"
    return "missing" if label.startswith("missing") else "unknown"


def notice_of(existing: ExistingPlan, label: str) -> str:
    """The warning about one that doesn't answer where the host has it on record.

    Never more, although the stack may insist: it may be about to move, and the verb `host` asks where it is to be.
    """
    if state_of(label) != "missing":
        return ""
    key = f"existing.{existing.name}"
    cure = f"start it, or set {key}.host and {key}.ports right"
    if existing.when_missing == "fail":
        cure = f"`up` asks again and touches nothing while it doesn't (`when_missing: fail`); {cure}"
    return f"{key}: {existing.name} on {existing.host} doesn't answer ({label}): {cure}"
