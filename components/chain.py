"""A chain's credential: on the host for the services that speak to the chain, nowhere else (D6)."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components import remote
from components.remote import Target
from plan.catalog import chain_prefix
from plan.models import ChainPlan


@dataclass(frozen=True, slots=True)
class ChainCredentialArgs:
    """What a ChainCredential needs."""

    chain: ChainPlan
    target: Target
    credential: pulumi.Output[str]


def environment_of(chain: str, credential: pulumi.Output[str]) -> pulumi.Output[dict[str, str]]:
    """The setting that a service finds the credential in."""
    return credential.apply(lambda value: {f"{chain_prefix(chain)}_CREDENTIAL": value})


class ChainCredential(pulumi.ComponentResource):
    """One chain's credential in a secret file of the host; services name it in their definitions."""

    TYPE = "blockchain:chains:ChainCredential"

    def __init__(self, name: str, args: ChainCredentialArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TYPE, name, None, opts)
        given = environment_of(args.chain.name, args.credential)
        remote.secret(name, given, args.target, pulumi.ResourceOptions(parent=self))
        self.register_outputs({})
