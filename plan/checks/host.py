"""Where the layout is on the host: a folder that is ours alone (P7)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from plan.models import EnvironmentPlan
from plan.problems import Problem, shown


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """A root that isn't there where hostctl looks for it, or that holds what isn't ours."""
    root = plan.host.layout.root
    if plan.host.local:
        right = "write a folder inside the project, for example .local"
        wrong = _wrong_on_a_laptop(root)
    else:
        right = "write an absolute folder of its own, for example /opt/blockchain-services"
        wrong = _wrong_on_a_server(root)
    if wrong is not None:
        yield Problem("host.root", f"{shown(root)} {wrong}", right)


def _wrong_on_a_server(root: str) -> str | None:
    if not root.startswith("/"):
        return "is relative, and a server has no project folder"
    if ".." in root.split("/"):
        return "leads upwards"
    return "is the whole machine" if not root.strip("/.") else None


def _wrong_on_a_laptop(root: str) -> str | None:
    if root.startswith(("/", "~")):
        return "is outside the project"
    if ".." in root.split("/"):
        return "leads upwards"
    return "is the project itself" if posixpath.normpath(root) == "." else None
