"""Commands on a host, here or over SSH: the only module that imports pulumi_command.

Field facts of pulumi-command 1.2.1 that shape it (docs/contracts.md, design): a change of `stdin` or of the
command's text updates in place, changed `triggers` would replace; `environment` needs sshd's AcceptEnv, so
data travels on stdin; the key comes from ssh-agent, never through `connection`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import pulumi
import pulumi_command as command

from plan.models import HostPlan


def _no_label(owner: str) -> None:
    """Nobody looked."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where commands run: this machine when `address` is None, else a server over SSH."""

    hostctl: str
    """Path of hostctl's wrapper, as the host sees it."""
    observed: bool
    """Whether labels are part of the commands."""
    remover: tuple[str, ...] = ()
    """hostctl as it is called to take something away, where its wrapper may be gone; the wrapper otherwise."""
    preview: bool = False
    """Whether nothing will be run: a preview that looked at nothing shows no change of a label."""
    secret_label: Callable[[str], pulumi.Output[str] | None] = _no_label
    """The observed label of an owner's secret file; None where nobody looked."""
    address: str | None = None
    port: int = 22
    user: str = "root"
    host_key: str | None = None


@dataclass(frozen=True, slots=True)
class CommandArgs:
    """One command: what it runs to create or update, on which input, and to delete."""

    target: Target
    create: pulumi.Input[str]
    stdin: pulumi.Input[str]
    delete: str | None = None
    from_here: bool = False
    """Whether it runs on this machine although the host is a server: it brings something along (over ssh)."""


OVER_SSH = "components/scripts/over-ssh.sh"


def hostctl(target: Target, *words: str) -> str:
    """The text of a call of hostctl."""
    return shlex.join([target.hostctl, *words])


def here(*words: str) -> str:
    """The text of a command of this machine."""
    return shlex.join(words)


def removal(target: Target, *words: str) -> str:
    """The text of a call of hostctl that takes something away; a server without hostctl has nothing left of ours."""
    text = shlex.join([*(target.remover or (target.hostctl,)), *words])
    return text if target.address is None else f"[ ! -x {shlex.quote(target.hostctl)} ] || {text}"


def removal_from_here(target: Target, *words: str) -> str:
    """The same as a command of this machine."""
    return removal(target, *words) if target.address is None else over_ssh(target, removal(target, *words))


def over_ssh(target: Target, text: str) -> str:
    """A command of this machine that runs `text` on the server, which must show the pinned key."""
    return shlex.join(
        ["sh", OVER_SSH, target.address or "", str(target.port), target.user, target.host_key or "", text]
    )


def login(host: HostPlan) -> tuple[str, str, str, str]:
    """Address, port, user and pinned key of a server, as over-ssh.sh takes them."""
    return (host.address, str(host.ssh_port), host.user, host.host_key or "")


def observed(
    target: Target, text: str, label: pulumi.Input[str] | None, option: str = " --observed"
) -> pulumi.Input[str]:
    """`text` with the observed label behind it, where the host is observed."""
    if not target.observed or label is None:
        return text
    return pulumi.Output.from_input(label).apply(lambda value: f"{text}{option} {shlex.quote(value)}")


def run(name: str, args: CommandArgs, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    """Make the command a resource."""
    if args.target.preview and not args.target.observed:
        # The label that the last observation put into the text stays: no diff where nobody looked (design: drift).
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=["create"]))
    if args.target.address is None or args.from_here:
        return command.local.Command(
            name,
            create=args.create,
            delete=args.delete,
            stdin=args.stdin,
            add_previous_output_in_env=False,
            logging=command.local.Logging.STDERR,
            opts=opts,
        )
    return command.remote.Command(
        name,
        # Host, port, user and host key only: a key in here would turn everything into an update
        # when somebody else's runs it.
        connection=command.remote.ConnectionArgs(
            host=args.target.address,
            port=args.target.port,
            user=args.target.user,
            host_key=args.target.host_key,
        ),
        create=args.create,
        delete=args.delete,
        stdin=args.stdin,
        add_previous_output_in_env=False,
        logging=command.remote.Logging.STDERR,
        opts=opts,
    )


def bring_up(
    name: str, target: Target, stdin: pulumi.Input[str], label: pulumi.Output[str] | None, parent: pulumi.Resource
) -> None:
    """`hostctl up NAME` with its definition on stdin, and `down` when it goes."""
    run(
        f"{name}-up",
        CommandArgs(
            target=target,
            create=observed(target, hostctl(target, "up", name), label),
            stdin=stdin,
            delete=removal(target, "down", name),
        ),
        pulumi.ResourceOptions(parent=parent),
    )


def answer(made: pulumi.CustomResource) -> pulumi.Output[str]:
    """What a command said on stdout, once it has run; nothing in a preview of its first time."""
    said: pulumi.Output[str | None] = cast("command.local.Command | command.remote.Command", made).stdout
    return said.apply(lambda text: text or "")


def password(value: pulumi.Output[str]) -> pulumi.Output[dict[str, str]]:
    """A password as the secrets of its owner."""
    return value.apply(lambda text: {"PASSWORD": text})


def secret(
    owner: str, values: pulumi.Output[dict[str, str]], target: Target, opts: pulumi.ResourceOptions
) -> pulumi.CustomResource:
    """Make the file of one owner's secrets on the host a resource (D6)."""
    put = CommandArgs(
        target=target,
        create=observed(target, hostctl(target, "secrets", owner), target.secret_label(owner)),
        stdin=pulumi.Output.secret(values.apply(json.dumps)),
        delete=removal(target, "remove-secrets", owner),
    )
    return run(f"{owner}-secrets", put, opts)


def read(words: Sequence[str], stdin: pulumi.Input[str]) -> pulumi.Output[str]:
    """What a command on this machine answers, in previews too; it must change nothing."""
    return command.local.run_output(command=shlex.join(words), stdin=stdin, logging=command.local.Logging.NONE).stdout


def read_now(words: Sequence[str], stdin: str) -> str:
    """The same at once, for what decides which resources there are; nothing in it may be secret."""
    return command.local.run(command=shlex.join(words), stdin=stdin, logging=command.local.Logging.NONE).stdout
