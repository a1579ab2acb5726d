"""Programs that tests need, from Debian's packages: the tests install them where they may, as root on Debian.

`python3 -m tests.packages` installs all of them, before `make test` and in CI: a test that only looks whether a program
is there finds it then. Standard library only, so that the system's own Python runs it before anything is installed.
No service is started by an installation, and two tests may ask at the same time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

#: Seconds for apt-get.
INSTALL_SECONDS = 900.0
POLICY = Path("/usr/sbin/policy-rc.d")
LOCK = Path("/tmp/blockchain-dao-packages.lock")

WORKSHOP = {"git": "git", "make": "make", "zsh": "zsh", "ssh-agent": "openssh-client", "lsof": "lsof"}
"""What unit tests drive; as in all of these: program -> package."""
SSHD = {"sshd": "openssh-server", "ssh-agent": "openssh-client"}
DATABASES = {"mariadbd": "mariadb-server", "redis-server": "redis-server", "initdb": "postgresql"}
NAMESPACES = {"ip": "iproute2", "iptables": "iptables"}
DOCKER = {"dockerd": "docker.io"}
REGISTRY = {**DOCKER, **SSHD, "docker-registry": "docker-registry"}
LAB = {**DOCKER, "debootstrap": "debootstrap", "ssh": "openssh-client", "ssh-agent": "openssh-client", "ip": "iproute2"}
EDGE = {"haproxy": "haproxy", "openssl": "openssl"}
"""What reads the edge's configuration, with a certificate; it runs in tests only, on ports of theirs."""
ALONE = {"docker-compose": "docker-compose", "openssl": "openssl"}
"""What single tests of the tier host look for."""
EVERYTHING = {**WORKSHOP, **DATABASES, **NAMESPACES, **REGISTRY, **LAB, **EDGE, **ALONE}


def program(name: str) -> str | None:
    """The path of a program: PATH, where servers' programs are, or the newest PostgreSQL's own folder."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")
    if found:
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return str(versions[-1]) if versions else None


def missing(needs: Mapping[str, str]) -> list[str]:
    """The packages (program -> package) whose program isn't there, each once."""
    return list(dict.fromkeys(package for name, package in needs.items() if program(name) is None))


def why_not() -> str | None:
    """Why nothing can be installed on this machine; None when it can."""
    if sys.platform != "linux" or shutil.which("apt-get") is None:
        return "this is no Debian to install them on"
    return "only root can install them" if os.geteuid() != 0 else None


def ensure(needs: Mapping[str, str]) -> str | None:
    """Install the packages (program -> package) whose program isn't there.

    None when all are there then, else why they are not: a reason for which tests that need them don't run.
    """
    absent = missing(needs)
    if not absent:
        return None
    if reason := why_not():
        return f"{', '.join(absent)} not installed, and {reason}"
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        absent = missing(needs)
        reason = _install(absent) if absent else None
    left = missing(needs)
    if not left:
        return None
    return reason or f"{', '.join(left)} not there after apt-get install"


def main() -> int:
    """Installs everything that tests need. Exit code 1 where it should have worked and didn't."""
    absent = missing(EVERYTHING)
    if not absent:
        print("programs for the tests: all there")
        return 0
    able = why_not() is None
    print(f"programs for the tests: {', '.join(absent)} missing{'; installing' * able}", flush=True)
    # One after the other where all at once fails: a package that a release lacks takes no other one's tests away.
    reason = ensure(EVERYTHING)
    if reason and able:
        reasons = [ensure({name: package}) for name, package in EVERYTHING.items()]
        reason = "; ".join(dict.fromkeys(one for one in reasons if one))
    if reason:
        print(f"programs for the tests: {reason}; the tests that need them say so", file=sys.stderr)
    return 1 if reason and able else 0


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


if __name__ == "__main__":
    sys.exit(main())
