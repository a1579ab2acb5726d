"""Which engine has a stack's resources, and how the other one takes them over.

Ours live in `.standalone/<stack>.json`; the CLI's in a local backend folder, `.state/.pulumi/stacks/<project>/`
(or where PULUMI_BACKEND_URL or Pulumi.yaml's `backend` points, as long as that is a local folder).
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from standalone.crypto import Keyring
from standalone.errors import UserError
from standalone.stackfile import Project, Stack
from standalone.state import DAMAGE, StateFile, check_form, read_deployment, write_atomically

BACKEND = ".state"
_OWN_TYPES = ("pulumi:pulumi:Stack", "pulumi:providers:")


def _backend_url(project: Project, environ: Mapping[str, str]) -> str:
    return environ.get("PULUMI_BACKEND_URL") or project.backend or f"file://./{BACKEND}"


def backend_folder(project: Project, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The CLI's local backend folder; None when its backend is elsewhere (a bucket), where we can't look."""
    url = _backend_url(project, environ)
    if not url.startswith("file://"):
        return None
    path = unquote(url.removeprefix("file://").partition("?")[0])  # behind the `?` stands how, not where
    return project.folder / os.path.expanduser(path)  # noqa: PTH111 (Path's raises for an unknown `~name`)


def checkpoint_path(project: Project, stack: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The CLI's checkpoint of a stack, if there is one."""
    folder = backend_folder(project, environ)
    if folder is None:
        return None
    base = folder / ".pulumi" / "stacks" / project.name / f"{stack}.json"
    return next((path for path in (base, base.with_name(f"{base.name}.gz")) if path.exists()), None)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The deployment in a checkpoint of the CLI. Raises UserError when it can't be read."""
    try:
        raw = path.read_bytes()
        document = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        deployment: Any = document["checkpoint"].get("latest") or {}
        check_form(deployment)
    except (OSError, EOFError, zlib.error, *DAMAGE) as bad:
        raise UserError(f"can't read the CLI's checkpoint {path}: {bad}") from None
    return cast("dict[str, Any]", deployment)


def _has_resources(deployment: dict[str, Any]) -> bool:
    resources = cast("list[dict[str, Any]]", deployment.get("resources") or [])
    operations = cast("list[dict[str, Any]]", deployment.get("pending_operations") or [])
    types = [str(r.get("type")) for r in resources] + [str(o["resource"].get("type")) for o in operations]
    return any(not type_.startswith(_OWN_TYPES) for type_ in types)


def owner(stack: Stack) -> str:
    """`none`, `standalone`, `pulumi`, or `unknown` where the CLI's backend can't be looked at and we have nothing.

    Raises UserError when both have resources.
    """
    ours = StateFile.path_of(stack.project.folder, stack.name)
    have_we = _has_resources(read_deployment(ours) or {})
    if backend_folder(stack.project) is None:
        return "standalone" if have_we else "unknown"
    theirs = checkpoint_path(stack.project, stack.name)
    have_they = theirs is not None and _has_resources(read_checkpoint(theirs))
    if have_we and have_they:
        raise UserError(
            f"both engines have resources of stack {stack.name}: {ours} and {theirs}. "
            "Find out which is right, and move the other file away"
        )
    return "standalone" if have_we else "pulumi" if have_they else "none"


def blind(stack: Stack) -> str:
    """What is to be said where the owner is unknown."""
    url = _backend_url(stack.project, os.environ).partition("?")[0]  # what stands behind it may be a credential
    return f"stack {stack.name} may be the Pulumi CLI's: its backend {url} can't be looked at from here"


def refuse_unless_ours(stack: Stack) -> None:
    """Raise UserError when the CLI has, may have or is making this stack's resources: two engines would not know of
    each other's work. Call it with the stack's lock held.
    """
    who = owner(stack)
    if who == "unknown":
        raise UserError(
            f"{blind(stack)}.\nUse the CLI (pulumi up -s {stack.name}); standalone can tell whose it is where the "
            "backend is a local folder (Pulumi.yaml's `backend`, PULUMI_BACKEND_URL)"
        )
    if who == "pulumi":
        raise UserError(
            f"stack {stack.name} belongs to the Pulumi CLI ({checkpoint_path(stack.project, stack.name)}).\n"
            f"Use the CLI (pulumi up -s {stack.name}), or hand the stack over first:\n"
            f"  python -m standalone handover --to standalone --stack {stack.name}"
        )
    refuse_while_the_cli_works(stack)


def refuse_while_the_cli_works(stack: Stack) -> None:
    """Raise UserError while the CLI has its own lock on the stack (`pulumi up` by hand doesn't take ours)."""
    folder = backend_folder(stack.project)
    locks = (folder or Path()) / ".pulumi" / "locks" / "organization" / stack.project.name / stack.name
    if folder is not None and locks.exists() and any(locks.iterdir()):
        raise UserError(
            f"the Pulumi CLI works on this stack just now ({locks}); wait until it has finished, or, when it was "
            f"killed: pulumi cancel -s {stack.name}"
        )


def to_pulumi(stack: Stack, state: StateFile) -> list[str]:
    """Hand our stack over to the CLI. Returns what was done, or, without a CLI, the steps to do by hand."""
    if owner(stack) != "standalone":
        raise UserError(f"nothing to hand over: the owner of stack {stack.name} is {owner(stack)}")
    if state.pending:
        raise UserError("an interrupted operation is pending: run `up` to its end first")
    export = state.path.with_suffix(".import.json")
    write_atomically(export, json.dumps({"version": 3, "deployment": state.deployment()}, indent=1))
    done = state.path.with_suffix(".json.handed-over")
    steps = [
        ["pulumi", "stack", "select", "--create", stack.name],
        ["pulumi", "stack", "import", "--stack", stack.name, "--file", str(export)],
    ]
    if shutil.which("pulumi") is None:
        lines = [" ".join(step) for step in steps]
        return [
            "no pulumi on PATH; where there is one, run in this folder:",
            *lines,
            f"mv {state.path} {done}",
        ]
    for step in steps:
        _pulumi(stack, step)
    state.path.replace(done)
    export.unlink()
    return [f"stack {stack.name} is the Pulumi CLI's now; our state is kept as {done}"]


def _pulumi(stack: Stack, command: list[str]) -> None:
    folder = backend_folder(stack.project)
    if folder is not None:
        folder.mkdir(exist_ok=True)
    fallback = {} if stack.project.backend else {"PULUMI_BACKEND_URL": f"file://{stack.project.folder / BACKEND}"}
    result = subprocess.run(
        command,
        check=False,
        cwd=stack.project.folder,
        env={**fallback, **os.environ},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if result.returncode:
        raise UserError(f"`{' '.join(command)}` failed; nothing of ours is changed:\n{result.stderr.strip()}")


def to_standalone(stack: Stack, keyring: Keyring) -> list[str]:
    """Take over a stack of the CLI's local backend. Its checkpoint is kept aside under another name."""
    path = checkpoint_path(stack.project, stack.name)
    if path is None or owner(stack) != "pulumi":
        raise UserError(f"nothing to take over: the owner of stack {stack.name} is {owner(stack)}")
    refuse_while_the_cli_works(stack)
    state = StateFile(StateFile.path_of(stack.project.folder, stack.name), keyring)
    state.adopt(read_checkpoint(path))
    if state.pending:
        raise UserError("the CLI's state has pending operations: finish them there first (pulumi up, pulumi refresh)")
    foreign = sorted({r.type for r in state.resources if _foreign(r.type, r.custom)})
    if foreign:
        raise UserError(f"standalone can't keep resources of these types: {', '.join(foreign)}")
    state.changed()
    state.save()
    aside = path.with_name(f"{path.name}.handed-over")
    path.replace(aside)
    return [f"stack {stack.name} is standalone's now; the CLI's checkpoint is kept as {aside}"]


def _foreign(type_: str, custom: bool) -> bool:
    from standalone.provider import executable

    return not executable(type_, custom)
