"""Runs `docker-compose`, whatever that resolves to on this host, on the documented file in the documented folder (P7).

Its output goes to a file and not to us: when we are killed it must not stumble over a broken pipe half-way. It inherits
the host's lock: as long as it works, nobody else changes the host (design: "How a host converges").
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import List, Optional

from hostctl import compose_program
from hostctl.compose_program import PROGRAM
from hostctl.docker_api import client_environment
from hostctl.errors import HostctlError

SECONDS = 600.0
LONGEST_REASON = 600
# Progress, not a reason.
_NOISE = (
    "Creating ",
    "Recreating ",
    "Starting ",
    "Pulling ",
    "Found orphan",
    " Container ",
    "time=",
    "Attaching to",
    'The "',
)


class Compose:
    """One host's compose."""

    def __init__(self, root: Path, run: Path, lock: Optional[int]) -> None:
        self._root, self._run, self._lock = root, run, lock

    def up(self, file: str, names: List[str]) -> str:
        """Brings exactly these services to what the file says; "" when that went well, else compose's own words."""
        return self._call([PROGRAM, "-f", file, "up", "-d", *self._alone(), *names])

    def beside(self, file: str, name: str) -> str:
        """Makes a second container of a service as the file says now, beside the one that runs; doesn't start it.

        Once the other one is removed, `up` finds nothing to change.
        """
        more = ["--no-start", "--no-recreate", *self._alone(), "--scale", name + "=2"]
        return self._call([PROGRAM, "-f", file, "up", *more, name])

    def problem(self, file: str) -> str:
        """Why compose would not read a file of ROOT; "" when it would."""
        return self._call([PROGRAM, "-f", file, "config", "-q"])

    def _alone(self) -> List[str]:
        # v2 counts `depends_on` into what a service is made of, and --no-deps leaves it out: the same command typed
        # without it would recreate the service (P7). So v2 also looks at the services that these need.
        return [] if compose_program.is_second(self._program()) else ["--no-deps"]

    def _program(self) -> str:
        path = compose_program.find()
        if path is None:
            raise HostctlError("there is no %s on this host: install it (Debian/Ubuntu: docker-compose)" % PROGRAM)
        return path

    def _call(self, argv: List[str]) -> str:
        self._program()
        with tempfile.TemporaryFile(dir=str(self._run)) as output:
            process = subprocess.Popen(
                argv,
                cwd=str(self._root),
                env=client_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=() if self._lock is None else (self._lock,),
                start_new_session=True,
            )
            try:
                code = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return "%s %s was not done within %d s" % (PROGRAM, argv[3], SECONDS)
            output.seek(0)
            said = output.read().decode("utf-8", "replace")
        return "" if code == 0 else reason_of(said) or "exit code %d of %s" % (code, PROGRAM)


def reason_of(said: str) -> str:
    """The reasons among what compose printed, each once, on one line."""
    reasons: List[str] = []
    for line in said.replace("\r", "\n").split("\n"):
        text = " ".join(line.replace("\x1b[0m", "").split())
        if text and not line.startswith(_NOISE) and text not in reasons:
            reasons.append(text)
    return "; ".join(reasons)[:LONGEST_REASON]
