"""Whether a stack's server is another one than its state is of: a changed `host.address` leaves the old one running."""

from __future__ import annotations

from typing import Any, cast

import stackedit
import stackfiles
from stackfiles import ROOT

HOST = "blockchain:host:Host"
"""The component whose output `address` says of which server a state is (components/host.py)."""


def notice(stack: str, env: dict[str, str]) -> str:
    """What is to be said before a `preview` or `up`; empty where nothing moved, or nobody can tell (a bucket)."""
    said = stackedit.read(stackfiles.file_of(stack))[1]
    host = stackedit.host_of(said, stackfiles.project_name()) or {}
    wanted = host.get("address")
    before = _address_in_state(stack, env) if isinstance(wanted, str) else ""
    if not before:
        return ""
    from plan.network import same_address

    if same_address(str(wanted), before):
        return ""
    return "\n".join(
        [
            f"notice: host.address is {wanted}, and what this stack has made is on {before}: there it all goes on, and "
            "nobody looks after it any more",
            f"  cure: with `address: {before}`, `make destroy STACK={stack}` first",
            f"  or, when that server is gone: `make abandon STACK={stack}`",
        ]
    )


def _address_in_state(stack: str, env: dict[str, str]) -> str:
    """The address that the last run of whichever engine has the stack went to."""
    from standalone.errors import UserError
    from standalone.ownership import checkpoint_path, read_checkpoint
    from standalone.stackfile import Project
    from standalone.state import StateFile, read_deployment

    try:
        found = _address(read_deployment(StateFile.path_of(ROOT, stack)) or {})
        theirs = None if found else checkpoint_path(Project.load(ROOT), stack, env)
        return _address(read_checkpoint(theirs)) if theirs is not None else found
    except UserError:
        return ""  # a state that can't be read: the engine that reads it next says so


def _address(deployment: dict[str, Any]) -> str:
    for resource in cast("list[dict[str, Any]]", deployment.get("resources") or []):
        outputs = cast("dict[str, Any]", resource.get("outputs") or {})
        if resource.get("type") == HOST and isinstance(outputs.get("address"), str):
            return str(outputs["address"])
    return ""
