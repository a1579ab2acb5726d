"""The machine that carries the lab: its Docker, and why there can be no lab where there can't.

The lab wants a Linux with root and a Docker daemon of its own (not a remote one: hosts' disks and networks are reached
from here). On Debian what is missing is installed, and `dockerd` is started where none answers. A daemon that was
started here stays, for the next session; `make lab-down` ends it when no container is left.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests import packages

SOCKET = Path("/var/run/docker.sock")
LOG = Path("/var/log/blockchain-dao-lab-dockerd.log")
PID_FILE = Path("/run/blockchain-dao-lab-dockerd.pid")
START_SECONDS = 60.0
DAEMON = ["dockerd"]


class LabError(AssertionError):
    """Something in the lab itself didn't work: a message for people."""


def docker(*words: str, stdin: str | None = None, timeout: float = 60, check: bool = True) -> str:
    """One call of Docker's client to the daemon of this machine; its stdout. Raises LabError when it fails."""
    done = call(docker_words(*words), stdin=stdin, timeout=timeout)
    if check and done.returncode:
        raise LabError(f"docker {' '.join(words[:3])} …: exit {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def docker_words(*words: str) -> list[str]:
    """The argv of a call of Docker's client; Debian's own where it is, as others may be of a newer API."""
    client = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
    return [client, "--host", f"unix://{SOCKET}", *words]


def call(words: list[str], *, stdin: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Any program to its end, its output caught; nothing of this machine's Docker settings."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
    given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    try:
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=timeout, check=False, **given)
    except subprocess.TimeoutExpired as late:
        raise LabError(f"{' '.join(words[:6])} …: not done in {timeout:.0f} s") from late


@functools.cache
def why_not() -> str | None:
    """Why there can be no lab on this machine; None when there can. Installs and starts what is needed."""
    if sys.platform != "linux":
        return "the lab's servers need a Linux machine"
    if os.geteuid() != 0:
        return "the lab's servers need root (Docker, mounts)"
    return packages.ensure(packages.LAB) or _start_docker() or _enough()


def _enough() -> str | None:
    """A privilege that containers of this Docker can't have is a reason too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapBnd":
            wanted = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
            lacking = [word for word, bit in wanted.items() if not int(value, 16) >> bit & 1]
            return f"the lab's servers need {', '.join(lacking)}, which this machine lacks" if lacking else None
    return None


def answers() -> bool:
    """Whether a Docker daemon answers on this machine's socket."""
    return SOCKET.exists() and call(docker_words("version"), timeout=20).returncode == 0


def _start_docker() -> str | None:
    if answers():
        return None
    with LOG.open("ab") as log:
        daemon = subprocess.Popen(
            DAEMON, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    PID_FILE.write_text(str(daemon.pid))
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if daemon.poll() is not None or time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                daemon.kill()
            PID_FILE.unlink(missing_ok=True)
            last = LOG.read_text(errors="replace").strip().splitlines()[-1:]
            return f"dockerd can't start here: {' '.join(last)[-300:]}"
        time.sleep(0.1)
    return None


def stop_docker() -> bool:
    """End the daemon that was started here, unless containers are left; whether it ended."""
    try:
        number = int(PID_FILE.read_text())
        ours = b"dockerd" in Path(f"/proc/{number}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
    if not ours or docker("ps", "-aq").strip():
        return False
    os.kill(number, signal.SIGTERM)
    PID_FILE.unlink(missing_ok=True)
    return True
