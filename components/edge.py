"""The edge: one proxy that owns a server's documented ports, so that updates lose no request (issue 5)."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

from components import remote
from components.remote import Target
from plan.models import LOOPBACK, EdgePlan
from plan.render import Definition


@dataclass(frozen=True, slots=True)
class EdgeArgs:
    """What an Edge needs: its slice of the plan, its definition, and where it runs."""

    edge: EdgePlan
    definition: Definition
    """With its own part of its configuration only: each service behind it brings its own."""
    target: Target
    label: pulumi.Output[str] | None
    """What the observation found; None where nobody looked."""


class Edge(pulumi.ComponentResource):
    """The edge, healthy when it is done. It comes before the services behind it and goes after them."""

    TYPE = "blockchain:edge:Edge"
    port: pulumi.Output[int]
    """Where it tells of itself, on its host's loopback; what it serves are the services' ports."""
    metrics: pulumi.Output[str]
    """The URL of its statistics, for Prometheus on its host."""

    def __init__(self, name: str, args: EdgeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TYPE, name, None, opts)
        stdin = json.dumps(args.definition, ensure_ascii=False, indent=2)
        remote.bring_up(name, args.target, stdin, args.label, self)
        self.port = pulumi.Output.from_input(args.edge.port)
        self.metrics = pulumi.Output.from_input(f"http://{LOOPBACK}:{args.edge.port}/metrics")
        self.register_outputs({"port": self.port, "metrics": self.metrics})
