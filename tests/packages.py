"""Programs that tests need, from Debian's packages: the tests install them where they may, as root on Debian.

No service is started by an installation, and two tests may ask at the same time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

#: Seconds for apt-get.
INSTALL_SECONDS = 900.0
POLICY = Path("/usr/sbin/policy-rc.d")
LOCK = Path("/tmp/blockchain-dao-packages.lock")


def program(name: str) -> str | None:
    """The path of a program: PATH, or where servers' programs are."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")


def ensure(needs: Mapping[str, str], find: Callable[[str], str | None] = program) -> str | None:
    """Install the packages (program -> package) whose program isn't there.

    None when all are there then, else why they are not: a reason for which tests that need them don't run.
    """

    def missing() -> list[str]:
        return [package for name, package in needs.items() if find(name) is None]

    absent = missing()
    if not absent:
        return None
    if sys.platform != "linux" or shutil.which("apt-get") is None:
        return f"{', '.join(absent)} not installed, and this is no Debian to install them on"
    if os.geteuid() != 0:
        return f"{', '.join(absent)} not installed, and only root can install them"
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        absent = missing()
        reason = _install(absent) if absent else None
    left = missing()
    return reason or (f"{', '.join(left)} not there after apt-get install" if left else None)


def _install(packages: list[str]) -> str | None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    waits = ["-o", "DPkg::Lock::Timeout=300"]  # somebody else may install something at the same time
    install = ["apt-get", "install", "-yq", "--no-install-recommends", *waits, *packages]
    with _no_service_starts():
        # A failing update (a mirror of something else) is no reason yet; a failing install is.
        _apt(["apt-get", "update", "-q", *waits], environment)
        return _apt(install, environment)


def _apt(command: list[str], environment: dict[str, str]) -> str | None:
    """Runs apt-get; None when it went well, else why it didn't."""
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(command[:2])}: not done in {INSTALL_SECONDS:.0f} s"
    last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
    return f"{' '.join(command[:2])} failed: {' '.join(last)}" if done.returncode else None


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """While packages are installed, Debian's hook forbids to start services; an existing one is put back."""
    before = POLICY.read_bytes() if POLICY.exists() else None
    mode = POLICY.stat().st_mode & 0o777 if before is not None else 0
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        if before is None:
            POLICY.unlink()
        else:
            POLICY.write_bytes(before)
            POLICY.chmod(mode)
