"""Forgetting a stack's resources without running a single `delete`: for a server that is gone."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from standalone import ownership
from standalone.stackfile import Stack
from standalone.state import FOLDER, StateFile, read_deployment

EMPTY: dict[str, Any] = {
    "version": 3,
    "deployment": {"manifest": {"time": "0001-01-01T00:00:00Z", "magic": "", "version": ""}, "resources": []},
}
"""What `pulumi stack import` takes for a stack without resources; with no secrets, it needs no passphrase."""


def names(deployment: dict[str, Any]) -> list[str]:
    """The resources that a `destroy` would run a `delete` for, the interrupted ones too."""
    resources = cast("list[dict[str, Any]]", deployment.get("resources") or [])
    operations = cast("list[dict[str, Any]]", deployment.get("pending_operations") or [])
    every = [*resources, *(cast("dict[str, Any]", operation["resource"]) for operation in operations)]
    own = [r for r in every if r.get("custom") and not str(r["type"]).startswith("pulumi:")]
    return sorted({str(r["urn"]).rsplit("::", 1)[1] for r in own})


def ours(stack: Stack) -> dict[str, Any]:
    """Our state of a stack. Raises UserError when the stack is, or may be, the CLI's. Call it with the lock held."""
    ownership.refuse_unless_ours(stack)
    return read_deployment(StateFile.path_of(stack.project.folder, stack.name)) or {}


def set_aside(stack: Stack) -> Path:
    """Make our state of a stack a backup copy, in one step. Returns where it is kept."""
    path = StateFile.path_of(stack.project.folder, stack.name)
    kept = reserve(path)
    path.replace(kept)
    return kept


def place_of_backup(stack: Stack) -> Path:
    """Where the CLI's state is to be kept: beside its checkpoint, else, for a bucket, beside where ours would be."""
    checkpoint = ownership.checkpoint_path(stack.project, stack.name)
    if checkpoint is not None:
        return reserve(checkpoint.with_name(f"{stack.name}.json"))
    (stack.project.folder / FOLDER).mkdir(mode=0o700, exist_ok=True)
    return reserve(stack.project.folder / FOLDER / f"{stack.name}.pulumi.json")


def reserve(path: Path) -> Path:
    """A new, empty file beside `path` that only we may read; its name says since when."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    kept = path.with_name(f"{path.name}.abandoned-{stamp}")
    os.close(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return kept
