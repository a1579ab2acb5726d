"""`make abandon STACK=…`: forget the resources of a server that is gone.

A `destroy` would run each resource's `delete` on the server and fail at the first, since nobody answers. This takes
them out of the state of whichever engine owns the stack, runs nothing, and keeps the state as it was beside it.
The user types the stack's name; without a terminal CONFIRM=STACK says the same.

Exit codes: 0 done, or nothing to do; 1 not done; 2 not confirmed; 130 Ctrl-C.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent))
import engine
import stackedit
import stackfiles
from engine import Refused
from stackfiles import ROOT

if TYPE_CHECKING:
    from standalone.stackfile import Stack

NOT_CONFIRMED = 2
_SHOWN = 12


class NotConfirmed(Refused):
    """Nobody said that it is meant."""


class Owner(Protocol):
    """An engine's state of one stack."""

    def resources(self) -> list[str]:
        """The names of what would be forgotten."""
        ...

    def forget(self) -> tuple[Path, str]:
        """Forget it; gives where the state is kept, and the command that puts it back."""
        ...


class Standalone:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def resources(self) -> list[str]:
        from standalone import abandon

        return abandon.names(abandon.ours(self.stack))

    def forget(self) -> tuple[Path, str]:
        from standalone import abandon
        from standalone.state import StateFile

        kept = abandon.set_aside(self.stack)
        return kept, shlex.join(["mv", str(kept), str(StateFile.path_of(ROOT, self.stack.name))])


class Pulumi:
    """The CLI's: an export, and an import of nothing; neither asks for a passphrase."""

    def __init__(self, stack: Stack, cli: engine.Cli) -> None:
        self.stack = stack
        self.cli = cli
        self.exported = ""

    def resources(self) -> list[str]:
        from standalone import abandon, ownership
        from standalone.state import DAMAGE

        ownership.refuse_while_the_cli_works(self.stack)
        if not self.cli.exists():
            return []
        self.exported = self._run("export")
        try:
            return abandon.names(json.loads(self.exported)["deployment"])
        except DAMAGE as bad:
            raise Refused(f"what `pulumi stack export` says can't be read: {bad}") from None

    def forget(self) -> tuple[Path, str]:
        from standalone import abandon

        kept = abandon.place_of_backup(self.stack)
        try:
            kept.write_text(self.exported)
            self._run("import", stdin=json.dumps(abandon.EMPTY))
        except BaseException:
            kept.unlink()
            raise
        return kept, shlex.join(["pulumi", "stack", "import", "--stack", self.stack.name, "--file", str(kept)])

    def _run(self, verb: str, stdin: str = "") -> str:
        done = self.cli.quietly("stack", verb, "--stack", self.stack.name, stdin=stdin)
        if done.returncode != 0:
            raise Refused(f"`pulumi stack {verb}`: {done.stderr.strip()}")
        return done.stdout


def owner_of(stack: Stack, env: dict[str, str]) -> Owner | None:
    """The state of the engine that `make` uses; None when nobody has resources. Raises Refused when the other has."""
    from standalone import ownership

    name, path = engine.choose(os.environ.get("ENGINE", ""), env)
    print(f"engine: {name}", flush=True)
    who = ownership.owner(stack)
    engine.refuse_others(stack.name, name, who)
    if who == "none":
        return None
    return Standalone(stack) if path is None else Pulumi(stack, engine.Cli(path, stack.name, env))


def refuse_a_laptop(stack: str) -> str:
    """The server's address; Refused where it is this machine, which can be destroyed properly."""
    from plan.network import is_loopback

    said = stackedit.read(stackfiles.file_of(stack))[1]
    host = stackedit.host_of(said, stackfiles.project_name()) or {}
    address = str(host.get("address") or "the server")
    if is_loopback(address):
        raise Refused(f"{stack} is this machine, and it is here", f"`make destroy STACK={stack}` takes it down")
    return address


def explain(stack: str, address: str, resources: list[str]) -> None:
    more = f", and {len(resources) - _SHOWN} more" if len(resources) > _SHOWN else ""
    many = f"{len(resources)} resource{'s' * (len(resources) != 1)}"
    print(f"{stack} has {many}: {', '.join(resources[:_SHOWN])}{more}.\n")
    print(
        f"To abandon them is to forget them: no `delete` is run, and nobody asks {address}. If it lives, all of ours\n"
        "on it goes on: containers, files, firewall rules, what it is registered at; nobody looks after it any more.\n"
        f"While it answers, `make destroy STACK={stack}` is the right thing.\n",
        flush=True,
    )


def confirm(stack: str, confirmed: str) -> None:
    """Raises NotConfirmed unless the stack's name was typed or given."""
    if not confirmed:
        if not sys.stdin.isatty():
            raise NotConfirmed("there is no terminal to ask on", f"make abandon STACK={stack} CONFIRM={stack}")
        try:
            confirmed = input("Type the stack's name to abandon it: ").strip()
        except EOFError:
            print()
    if confirmed != stack:
        what = f"{json.dumps(confirmed)} is not {stack}" if confirmed else "no answer"
        raise NotConfirmed(f"{what}; nothing was abandoned")


@contextmanager
def undisturbed() -> Generator[None]:
    """Ctrl-C waits: the step takes a second, and half of it is nothing."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def abandon(stack_name: str, confirmed: str) -> None:
    from standalone.lock import exclusive
    from standalone.stackfile import Project, Stack
    from standalone.state import StateFile

    address = refuse_a_laptop(stack_name)
    stack = Stack.load(Project.load(ROOT), stack_name)
    # From the question to the end: nobody begins a run on what is about to be forgotten.
    with exclusive(StateFile.path_of(ROOT, stack_name), "abandon"):
        owner = owner_of(stack, engine.environment(stack_name))
        resources = owner.resources() if owner is not None else []
        if owner is None or not resources:
            print(f"nothing to abandon: {stack_name} has no resources")
            return
        explain(stack_name, address, resources)
        confirm(stack_name, confirmed)
        with undisturbed():
            kept, back = owner.forget()
    print(f"abandoned. The state as it was: {kept}\n  to have it back before the next `up`: {back}")
    print(f"the next `make up STACK={stack_name}` starts afresh")


def main(environ: Any = os.environ) -> int:
    stack = environ.get("STACK", "")
    sys.path.insert(0, str(ROOT))
    from standalone.errors import UserError

    try:
        if stack not in stackfiles.names():
            raise Refused(f"there is no stack {json.dumps(stack)}; there are: {', '.join(stackfiles.names())}")
        abandon(stack, environ.get("CONFIRM", "").strip())
    except UserError as bad:
        print(f"error: {bad}", file=sys.stderr)
        return 1
    except Refused as refused:
        print(refused, file=sys.stderr)
        return NOT_CONFIRMED if isinstance(refused, NotConfirmed) else 1
    except OSError as bad:
        print(f"error: {bad.filename}: {bad.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; nothing was abandoned", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
