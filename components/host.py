"""The host: hostctl and the layout in place, whatever else runs there (P7, P11)."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

from components import remote
from components.remote import Target
from plan.models import HostPlan
from plan.render import Definition


@dataclass(frozen=True, slots=True)
class Bundle:
    """hostctl as one reproducible zipapp, and the script that puts it in place."""

    script: str
    """Text of `hostctl/install.sh`."""
    digest: str
    """SHA-256 of the zipapp, hexadecimal."""
    payload: str
    """The zipapp in base64, on one line."""
    python: str
    """The interpreter that runs it on the host."""
    here: str
    """The command that installs it on this machine, from its sources."""


@dataclass(frozen=True, slots=True)
class HostArgs:
    """What a Host needs: its slice of the plan, hostctl, and what was observed."""

    host: HostPlan
    target: Target
    definition: Definition
    bundle: Bundle
    label: pulumi.Input[str] | None


class Host(pulumi.ComponentResource):
    """One machine with hostctl, the folders, the files' tops, and the runtime started."""

    TYPE = "blockchain:host:Host"
    address: pulumi.Output[str]
    root: pulumi.Output[str]

    def __init__(self, name: str, args: HostArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TYPE, name, None, opts)
        root = args.host.layout.root
        create = args.bundle.here if args.host.local else args.bundle.script
        remote.run(
            f"{name}-hostctl",
            remote.CommandArgs(
                target=args.target,
                create=_with_label(args, create),
                stdin=_stdin(args),
                delete=remote.removal(args.target, "remove-host"),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.address = pulumi.Output.from_input(args.host.address)
        self.root = pulumi.Output.from_input(root)
        self.register_outputs({"address": self.address, "root": self.root})


def _stdin(args: HostArgs) -> str:
    """On this machine the definition alone; over SSH behind what the installer is to put in place."""
    if args.host.local:
        return json.dumps(args.definition, ensure_ascii=False, indent=2)
    bundle = args.bundle
    definition = json.dumps(args.definition, ensure_ascii=False, separators=(",", ":"))
    return "\n".join([args.host.layout.root, bundle.python, bundle.digest, bundle.payload, definition, ""])


def _with_label(args: HostArgs, create: str) -> pulumi.Input[str]:
    """The installer with the observed label as its last argument."""
    if not args.target.observed or args.label is None:
        return create
    if args.host.local:
        return pulumi.Output.from_input(args.label).apply(lambda label: f"{create} {remote.quote(label)}")
    return pulumi.Output.from_input(args.label).apply(lambda label: f"set -- {remote.quote(label)}\n{create}")
