"""Where the layout is on the host: a folder that is ours alone (P7)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from plan.models import EnvironmentPlan
from plan.problems import Problem, shown


def _below(folder: str, names: str) -> frozenset[str]:
    return frozenset(f"{folder}/{name}" for name in names.split())


_NEVER_BELOW = _below("", "bin boot dev etc lib lib32 lib64 libx32 lost+found proc run sbin snap sys tmp")
"""Where nothing of ours may be at all: the system's own, or gone after a restart."""
_EVERYBODYS = (
    _below("", "home media mnt opt root srv usr var")
    | _below("/usr", "bin games include lib lib32 lib64 libexec libx32 local sbin share src")
    | _below("/usr/local", "bin etc games include lib libexec man sbin share src")
    | _below("/var", "backups cache lib local lock log mail opt run spool tmp www")
    | _below("/var/lib", "apt containerd docker dpkg systemd")
)
"""What a server has without us; a folder of our own below most of them is fine."""


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
    if not root.strip("/."):
        return "is the whole machine"
    folder = "/" + posixpath.normpath(root).lstrip("/")
    top, _, name = folder[1:].partition("/")
    if folder in _EVERYBODYS or f"/{top}" in _NEVER_BELOW:
        return "is the system's own folder, and hostctl makes and removes bin, lib, run and more in it"
    return "is somebody's whole home" if top == "home" and "/" not in name else None


def _wrong_on_a_laptop(root: str) -> str | None:
    if root.startswith(("/", "~")):
        return "is outside the project"
    if ".." in root.split("/"):
        return "leads upwards"
    return "is the project itself" if posixpath.normpath(root) == "." else None
