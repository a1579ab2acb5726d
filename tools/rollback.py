"""`make rollback STACK=… SERVICE=…`: one service goes back to its previous generation on its host.

`hostctl rollback` does it with what the host has on record: nothing is built or pulled, no engine runs, no passphrase
is needed, and the state stays as it is. So the stack file is ahead of the host afterwards: a preview says so, and `up`
goes forward again. TO=N names a generation (`hostctl generations NAME` lists them) instead of the one before.

Exit codes: 0 done; 2 no such service or generation here, nobody was asked; 130 Ctrl-C; otherwise hostctl's, or 255
where the server can't be reached.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import doctor
import stackfiles
from stackfiles import ROOT

if TYPE_CHECKING:
    from plan.models import EnvironmentPlan

WRONG = 2
_NOT_THERE = 127
"""A shell's answer where the program isn't."""
_INTERRUPTED = 130
OVER_SSH = ROOT / "components" / "scripts" / "over-ssh.sh"


class Refused(Exception):
    """Nobody was asked; the message says why, and each further line is a cure."""

    def __init__(self, why: str, *cures: str, code: int = WRONG) -> None:
        super().__init__("\n".join([f"error: {why}", *(f"  cure: {cure}" for cure in cures)]))
        self.code = code


def plan_of(stack: str) -> EnvironmentPlan:
    """The stack file as a checked plan. Raises Refused."""
    if stack not in stackfiles.names():
        raise Refused(f"there is no stack {json.dumps(stack)}; there are: {', '.join(stackfiles.names())}")
    from plan.problems import InvalidStackError
    from standalone.errors import UserError

    try:
        plan = doctor.read_plan(stack)
    except (InvalidStackError, UserError) as error:
        raise Refused(
            f"Pulumi.{stack}.yaml is no sound plan, and it says where the host is: {error}",
            "mend what it names, or type it on the host: bin/hostctl rollback NAME",
        ) from None
    if plan.runtime == "docker":
        raise Refused(
            f"runtime: with docker the containers of {stack} are Pulumi's, which keeps no generations",
            f"put the version before into the stack file, and `make up STACK={stack}`",
        )
    return plan


def words(plan: EnvironmentPlan, service: str, to: str) -> list[str]:
    """What hostctl is told. Raises Refused where the plan has no such service, or `to` is no generation."""
    from plan.catalog import EDGE

    names = [*(one.name for one in plan.running), *([EDGE] if plan.edge is not None else [])]
    if service not in names:
        why = f"{plan.name} has no service {json.dumps(service)}" if service else "which service? SERVICE=NAME"
        raise Refused(f"{why}; there are: {', '.join(names)}")
    if to and not (to.isascii() and to.isdigit() and int(to)):
        raise Refused(f"TO={to} is no generation; a number from 1 on is, and without TO it is the one before")
    return ["rollback", service, *(["--to", str(int(to))] if to else [])]


def command(plan: EnvironmentPlan, told: list[str]) -> list[str]:
    """What runs here for it. Raises Refused where a laptop's environment isn't up."""
    host = plan.host
    hostctl = f"{host.layout.root}/bin/hostctl"
    if host.local:
        if not (ROOT / hostctl).exists():
            raise Refused(f"{plan.name} is not up: there is no {hostctl}", f"`make up STACK={plan.name}`")
        return [str(ROOT / hostctl), *told]
    server = [host.address, str(host.ssh_port), host.user, host.host_key or ""]
    return ["sh", str(OVER_SSH), *server, shlex.join([hostctl, *told])]


def rollback(stack: str, service: str, to: str) -> int:
    """Runs it, hostctl's words as they come; the exit code. Raises Refused."""
    plan = plan_of(stack)
    run = command(plan, words(plan, service, to))
    code = stackfiles.wait_for(subprocess.Popen(run, cwd=ROOT, stdin=subprocess.DEVNULL))
    make = f"STACK={stack}"
    if code == 0:
        print(
            f"{service} went back on {plan.host.address}; Pulumi.{stack}.yaml is as it was: `make preview {make}` "
            f"shows the difference, and `make up {make}` goes forward again",
            file=sys.stderr,  # stdout is hostctl's: one line of JSON
        )
    elif code == _NOT_THERE:
        print(f"error: there is no hostctl on {plan.host.address}: `make up {make}` puts it there", file=sys.stderr)
    elif code == _INTERRUPTED:
        print(f"interrupted: what hostctl has begun it ends; `make preview {make}` shows how it is", file=sys.stderr)
    return code


def main(environ: Any = os.environ) -> int:
    sys.path.insert(0, str(ROOT))
    given = {name: str(environ.get(name, "")).strip() for name in ("SERVICE", "TO")}
    try:
        return rollback(environ.get("STACK", ""), given["SERVICE"], given["TO"])
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.code


if __name__ == "__main__":
    sys.exit(main())
