"""Which `docker-compose` this host has, and the shim of that name where only `docker compose` is there (P7)."""

from __future__ import annotations

import os
import pkgutil
import re
import shutil
import subprocess
from typing import List, Optional

from hostctl.environment import outside_environment

PROGRAM = "docker-compose"
SHIM = "/usr/local/bin/docker-compose"
MARK = b"Made by hostctl of blockchain-dao"
# Where Docker's client looks for plugins beside the user's own folder.
PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
SECONDS = 30.0
_HEAD = 8192
_GO = b"\0Go\0\0"  # the note that Go's linker puts near the start of each program; no 1.x was ever written in Go


def search_path() -> str:
    """Where programs are looked for, as when they are run."""
    return outside_environment().get("PATH", os.defpath)


def find() -> Optional[str]:
    """The path of `docker-compose`; None when there is none."""
    return shutil.which(PROGRAM, path=search_path())


def has_plugin() -> bool:
    """Whether `docker compose` works. A look at files where they tell, since a run of it costs more than all else."""
    docker = shutil.which("docker", path=search_path())
    if docker is None:
        return False
    own = os.path.join(outside_environment().get("HOME", "/root"), ".docker", "cli-plugins")
    if any(os.access(os.path.join(folder, PROGRAM), os.X_OK) for folder in (own, *PLUGIN_FOLDERS)):
        return True
    return _says([docker, "compose", "version", "--short"]) is not None


def is_shim(path: str) -> bool:
    """Whether this file is ours."""
    return MARK in _head(path)


def is_second(path: str) -> bool:
    """Whether this is compose v2, as far as the file tells: a Go program, our shim, or somebody's of the same kind."""
    head = _head(path)
    return _GO in head or MARK in head or (head.startswith(b"#!") and b"docker compose" in head)


def major(path: str) -> Optional[int]:
    """1 or 2 for a `docker-compose`, however it is packed; None when it doesn't run."""
    if _GO in _head(path):
        return 2
    said = _says([path, "version", "--short"])
    found = re.search(r"(\d+)\.\d+", said or "")
    return int(found.group(1)) if found else None


def write_shim() -> List[str]:
    """Puts the shim in place, whole or not at all; says so. Nothing to say when it is there already."""
    text = pkgutil.get_data("hostctl", PROGRAM + ".in")
    assert text is not None
    if _read(SHIM) == text:
        return []
    temporary = "%s.tmp-%d" % (SHIM, os.getpid())
    os.makedirs(os.path.dirname(SHIM), mode=0o755, exist_ok=True)
    try:
        with open(temporary, "wb") as stream:
            os.fchmod(stream.fileno(), 0o755)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, SHIM)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return ["%s written: it runs `docker compose`" % SHIM]


def remove_shim() -> List[str]:
    """Takes the shim away where it is ours; says so."""
    if not is_shim(SHIM):
        return []
    os.unlink(SHIM)
    return ["%s removed" % SHIM]


def _head(path: str) -> bytes:
    return _read(path, _HEAD) or b""


def _read(path: str, most: int = -1) -> Optional[bytes]:
    try:
        with open(path, "rb") as stream:
            return stream.read(most)
    except OSError:
        return None


def _says(argv: List[str]) -> Optional[str]:
    """What a program prints; None when it fails."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=outside_environment(),
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
