"""The host: hostctl and the layout in place, whatever else runs there (P7, P11)."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

import pulumi

from components import remote
from components.remote import Target
from plan.models import HostPlan
from plan.render import Definition
from plan.render.process import PYTHON


@dataclass(frozen=True, slots=True)
class HostArgs:
    """What a Host needs: its slice of the plan, hostctl, and what was observed."""

    host: HostPlan
    target: Target
    definition: Definition
    digest: str
    """SHA-256 of hostctl's zipapp, hexadecimal: the command names it, and packs the zipapp of the sources then."""
    label: pulumi.Input[str] | None


class Host(pulumi.ComponentResource):
    """One machine with hostctl, the folders, the files' tops, and the runtime started."""

    TYPE = "blockchain:host:Host"
    address: pulumi.Output[str]
    root: pulumi.Output[str]

    def __init__(self, name: str, args: HostArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TYPE, name, None, opts)
        remote.run(
            f"{name}-hostctl",
            remote.CommandArgs(
                target=args.target,
                create=remote.observed(args.target, _install(args), args.label, option=""),
                stdin=json.dumps(args.definition, ensure_ascii=False, indent=2),
                delete=_remove(args),
                from_here=True,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.address = pulumi.Output.from_input(args.host.address)
        self.root = pulumi.Output.from_input(args.host.layout.root)
        self.register_outputs({"address": self.address, "root": self.root})


def _install(args: HostArgs) -> str:
    """The command of this machine that puts hostctl in place; nothing of hostctl travels through Pulumi's state."""
    host = args.host
    if host.local:
        return shlex.join((PYTHON, "-m", "hostctl.here", host.layout.root, PYTHON, args.digest))
    words = (PYTHON, "-m", "hostctl.there", "install", *remote.login(host), host.layout.root, args.digest)
    return shlex.join(words)


def _remove(args: HostArgs) -> str:
    """The command of this machine that takes everything away; hostctl itself may be gone from where it was."""
    host = args.host
    if host.local:
        return remote.removal(args.target, "remove-host")
    return shlex.join((PYTHON, "-m", "hostctl.there", "remove", *remote.login(host), host.layout.root))
