"""Runs the system's own programs for administrators: package managers, and what starts a daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from typing import Sequence, Tuple

from hostctl.environment import outside_environment
from hostctl.errors import HostctlError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SECONDS = 1800.0
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_LAST_LINES = 6


def run(command: Sequence[str], held: Sequence[int] = ()) -> Tuple[int, str]:
    """A program's exit code and what it said; `held` are descriptors that it inherits.

    It outlives us: half an install is worse than one nobody waits for.
    """
    environment = {**outside_environment(), "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    environment.update({"NEEDRESTART_MODE": "a", "PATH": "%s:%s" % (environment["PATH"], SYSTEM_PATH)})
    environment.update({name: os.environ[name] for name in _PROXIES if name in os.environ})
    with tempfile.TemporaryFile() as output:
        before = os.umask(0o022)  # ours is stricter, and packages make files
        try:
            process = subprocess.Popen(
                list(command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(held),
                start_new_session=True,
            )
        except OSError as error:
            return 127, "%s: %s" % (command[0], error.strerror)
        finally:
            os.umask(before)
        code = _wait(process)
        output.seek(0)
        return code, output.read().decode("utf-8", "replace")


def must(command: Sequence[str]) -> None:
    """Runs it. Raises HostctlError when it fails."""
    code, said = run(command)
    if code != 0:
        raise failed(command, said)


def failed(command: Sequence[str], said: str) -> HostctlError:
    """The error: the command without its options, and the end of what it said."""
    words = [word for word in command if not word.startswith("-") and "::" not in word]
    last = [line.strip() for line in said.splitlines() if line.strip()][-_LAST_LINES:]
    return HostctlError("`%s` failed: %s" % (" ".join(words), " / ".join(last) or "it does not say why"))


def _wait(process: "subprocess.Popen[bytes]") -> int:
    try:
        return process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        return process.wait()
