"""The team's certificates: the folder of the host that the edge has as `/tls`.

It is looked at before anything is touched: Docker makes a folder that is missing, and HAProxy ends at an empty one.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import List, Optional

from hostctl.forms import ServiceDefinition

ENDING = ".pem"
HAPROXYS_USER, HAPROXYS_GROUP = 0, 0
"""As whom HAProxy reads them: root, but without the right to read what root may not."""
_RIGHT = "it must hold PEM files (NAME.pem: the chain, then the key) that belong to root, mode 0600"


def problem(definition: ServiceDefinition) -> str:
    """Why an edge's certificates can't be had on this host ("" when they can, and where it has none)."""
    proxy = definition["proxy"]
    if proxy is None or not proxy["certificates"]:
        return ""
    folder = Path(proxy["certificates"])
    wrong = _wrong(folder)
    return "edge.certificates: %s on this server %s; %s" % (folder, wrong, _RIGHT) if wrong else ""


def _wrong(folder: Path) -> str:
    try:
        found = os.stat(str(folder))
        if not stat.S_ISDIR(found.st_mode):
            return "is not a folder"
        if not _allows(found, 5):
            return "is a folder that root may not enter by its mode alone (%s)" % _mode(found)
        names = sorted(name for name in os.listdir(str(folder)) if name.endswith(ENDING))
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return "can't be looked at: %s" % (error.strerror or error)
    if not names:
        return "has no file *%s" % ENDING
    troubles = [_unreadable(folder, name) for name in names]
    told: List[str] = [trouble for trouble in troubles if trouble]
    # Of several, the edge's own check names the one that it would not take.
    return "has no certificate that the edge could read: %s" % "; ".join(told[:3]) if len(told) == len(names) else ""


def _unreadable(folder: Path, name: str) -> Optional[str]:
    path = str(folder / name)
    outside = os.path.realpath(path)
    inside = os.path.realpath(str(folder))
    if os.path.islink(path) and (os.path.isabs(os.readlink(path)) or not outside.startswith(inside + os.sep)):
        return "%s points to %s, and the edge has this folder only (copy the file)" % (name, outside)
    try:
        found = os.stat(path)
    except OSError as error:
        return "%s: %s" % (name, error.strerror or error)
    if not stat.S_ISREG(found.st_mode):
        return "%s is no file" % name
    if not found.st_size:
        return "%s is empty" % name
    return None if _allows(found, 4) else "%s is not root's to read (%s)" % (name, _mode(found))


def _allows(found: os.stat_result, wanted: int) -> bool:
    """Whether HAProxy's user has these bits of a mode (4 reads, 1 enters)."""
    if found.st_uid == HAPROXYS_USER:
        return found.st_mode >> 6 & wanted == wanted
    if found.st_gid == HAPROXYS_GROUP:
        return found.st_mode >> 3 & wanted == wanted
    return found.st_mode & wanted == wanted


def _mode(found: os.stat_result) -> str:
    return "user %d, mode %04o" % (found.st_uid, stat.S_IMODE(found.st_mode))
