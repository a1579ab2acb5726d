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
from pathlib import Path
from typing import Any, cast

from standalone.crypto import Keyring
from standalone.errors import UserError
from standalone.stackfile import Stack
from standalone.state import StateFile, write_atomically

BACKEND = ".state"
_OWN_TYPES = ("pulumi:pulumi:Stack", "pulumi:providers:")


def backend_folder(stack: Stack) -> Path | None:
    """The CLI's local backend folder; None when its backend is elsewhere (a bucket), where we can't look."""
    url = os.environ.get("PULUMI_BACKEND_URL") or stack.project.backend or f"file://./{BACKEND}"
    if not url.startswith("file://"):
        return None
    path = url.removeprefix("file://")
    return stack.project.folder / Path(path.replace("~", str(Path.home()), 1) if path.startswith("~") else path)


def checkpoint_path(stack: Stack) -> Path | None:
    """The CLI's checkpoint of this stack, if there is one."""
    folder = backend_folder(stack)
    if folder is None:
        return None
    base = folder / ".pulumi" / "stacks" / stack.project.name / f"{stack.name}.json"
    return next((path for path in (base, base.with_name(f"{base.name}.gz")) if path.exists()), None)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The deployment in a checkpoint of the CLI. Raises UserError when it can't be read."""
    try:
        raw = path.read_bytes()
        document = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        return cast("dict[str, Any]", document["checkpoint"].get("latest") or {})
    except (OSError, ValueError, KeyError) as bad:
        raise UserError(f"can't read the CLI's checkpoint {path}: {bad}") from None


def _has_resources(deployment: dict[str, Any]) -> bool:
    resources = cast("list[dict[str, Any]]", deployment.get("resources") or [])
    operations = cast("list[dict[str, Any]]", deployment.get("pending_operations") or [])
    types = [str(r.get("type")) for r in resources] + [str(o["resource"].get("type")) for o in operations]
    return any(not type_.startswith(_OWN_TYPES) for type_ in types)


def owner(stack: Stack) -> str:
    """`none`, `standalone` or `pulumi`. Raises UserError when both have resources."""
    ours = StateFile.path_of(stack.project.folder, stack.name)
    have_we = ours.exists() and _has_resources(json.loads(ours.read_text()).get("deployment") or {})
    theirs = checkpoint_path(stack)
    have_they = theirs is not None and _has_resources(read_checkpoint(theirs))
    if have_we and have_they:
        raise UserError(
            f"both engines have resources of stack {stack.name}: {ours} and {theirs}. "
            "Find out which is right, and move the other file away"
        )
    return "standalone" if have_we else "pulumi" if have_they else "none"


def refuse_if_pulumis(stack: Stack) -> None:
    """Raise UserError when the CLI has this stack's resources: two engines would not know of each other's work."""
    if owner(stack) == "pulumi":
        raise UserError(
            f"stack {stack.name} belongs to the Pulumi CLI ({checkpoint_path(stack)}).\n"
            f"Use the CLI (pulumi up -s {stack.name}), or hand the stack over first:\n"
            f"  python -m standalone handover --to standalone --stack {stack.name}"
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
    folder = backend_folder(stack)
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
    path = checkpoint_path(stack)
    if path is None or owner(stack) != "pulumi":
        raise UserError(f"nothing to take over: the owner of stack {stack.name} is {owner(stack)}")
    locks = path.parent.parent.parent / "locks" / "organization" / stack.project.name / stack.name
    if locks.exists() and any(locks.iterdir()):
        raise UserError(f"the Pulumi CLI works on this stack just now ({locks})")
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
