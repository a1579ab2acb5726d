"""Commands on a host, here or over SSH: the only module that imports pulumi_command.

Field facts of pulumi-command 1.2.1 that shape it (docs/contracts.md, design): a change of `stdin` or of the
command's text updates in place, changed `triggers` would replace; `environment` needs sshd's AcceptEnv, so
data travels on stdin; the key comes from ssh-agent, never through `connection`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_command as command


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


def hostctl(target: Target, *words: str) -> str:
    """The text of a call of hostctl."""
    return shlex.join([target.hostctl, *words])


def removal(target: Target, *words: str) -> str:
    """The text of a call of hostctl that takes something away."""
    return shlex.join([*(target.remover or (target.hostctl,)), *words])


def observed(target: Target, text: str, label: pulumi.Input[str] | None) -> pulumi.Input[str]:
    """`text` with the observed label behind it, where the host is observed."""
    if not target.observed or label is None:
        return text
    return pulumi.Output.from_input(label).apply(lambda value: f"{text} --observed {quote(value)}")


def quote(text: str) -> str:
    """`text` as one word of a shell."""
    return shlex.quote(text)


def run(name: str, args: CommandArgs, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    """Make the command a resource."""
    if args.target.preview and not args.target.observed:
        # The label that the last observation put into the text stays: no diff where nobody looked (design: drift).
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=["create"]))
    if args.target.address is None:
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


def read(words: Sequence[str], stdin: pulumi.Input[str]) -> pulumi.Output[str]:
    """What a command on this machine answers, in previews too; it must change nothing."""
    return command.local.run_output(command=shlex.join(words), stdin=stdin, logging=command.local.Logging.NONE).stdout
