"""The ends of log files, over a rotation by supervisord."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Optional

MOST_BYTES = 256 * 1024


def mark(path: Path) -> List[int]:
    """The file and its length now."""
    try:
        found = os.stat(str(path))
    except OSError:
        return [0, 0]
    return [found.st_ino, found.st_size]


def tail(path: Path, lines: int, since: Optional[List[int]] = None) -> List[str]:
    """The last lines; with a mark only what came after it."""
    if since is None:
        found = _lines(path, 0)
        if len(found) < lines:
            found = _lines(path.with_name(path.name + ".1"), 0) + found
    else:
        now = mark(path)
        found = _lines(path, since[1] if now[0] == since[0] and now[1] >= since[1] else 0)
    return found[-lines:] if lines > 0 else []


def _lines(path: Path, start: int) -> List[str]:
    try:
        with open(str(path), "rb") as stream:
            length = stream.seek(0, os.SEEK_END)
            stream.seek(max(start, length - MOST_BYTES))
            return stream.read(MOST_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
