"""One blockchain service: one process or container, brought up as one transaction (P1-P3, P5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components import docker, remote
from components.docker import Place
from components.remote import Target
from plan.models import ServicePlan
from plan.render import Definition


@dataclass(frozen=True, slots=True)
class BlockchainServiceArgs:
    """What a BlockchainService needs: its slice of the plan, its definition, and where it runs."""

    service: ServicePlan
    definition: pulumi.Output[Definition]
    url: str
    target: Target
    label: pulumi.Output[str] | None
    docker: Place | None = None
    """Where its container goes with runtime `docker`; None with the others."""
    secrets: tuple[pulumi.Output[dict[str, str]], ...] = ()
    """Secret environment (runtime `docker` only: elsewhere hostctl hands it over on the host)."""


class BlockchainService(pulumi.ComponentResource):
    """One service, healthy when it is done; its port and the URL where it answers."""

    TYPE = "blockchain:services:BlockchainService"
    port: pulumi.Output[int]
    endpoint: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        args: BlockchainServiceArgs,
        opts: pulumi.ResourceOptions | None = None,
        type_token: str = TYPE,
        more: Mapping[str, pulumi.Output[Any]] | None = None,
    ) -> None:
        super().__init__(type_token, name, None, opts)
        if args.docker is None:
            stdin = args.definition.apply(lambda d: json.dumps(d, ensure_ascii=False, indent=2))
            remote.bring_up(name, args.target, stdin, args.label, self)
        else:
            self._container(name, args, args.docker)
        self.port = pulumi.Output.from_input(args.service.port)
        self.endpoint = pulumi.Output.from_input(args.url)
        self.register_outputs({"port": self.port, "endpoint": self.endpoint, **(more or {})})

    def _container(self, name: str, args: BlockchainServiceArgs, place: Place) -> None:
        env = args.definition.apply(lambda definition: definition["launch"]["env"])
        container = docker.ContainerArgs(args.service, place, env, args.secrets)
        docker.container(name, container, pulumi.ResourceOptions(parent=self))
