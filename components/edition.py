"""An edition of the Tencent host: its three services and its shared service (E1, E2)."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.service import BlockchainService, BlockchainServiceArgs
from components.shared_service import SharedService
from plan.models import EditionPlan


@dataclass(frozen=True, slots=True)
class EditionArgs:
    """The four containers of the edition that runs."""

    edition: EditionPlan
    services: tuple[BlockchainServiceArgs, ...]
    shared: BlockchainServiceArgs


class Edition(pulumi.ComponentResource):
    """The edition that runs; at most one does (E1)."""

    TYPE = "blockchain:editions:Edition"
    endpoints: pulumi.Output[dict[str, str]]

    def __init__(self, name: str, args: EditionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TYPE, name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        for member in args.services:
            BlockchainService(member.service.name, member, child)
        SharedService(args.shared.service.name, args.shared, child)
        members = (*args.services, args.shared)
        self.endpoints = pulumi.Output.from_input({member.service.name: member.url for member in members})
        self.register_outputs({"endpoints": self.endpoints})
