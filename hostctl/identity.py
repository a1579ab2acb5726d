"""Who a process is, so that a recycled pid is never taken for the one that wrote its number down."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Dict, Optional, TypedDict


class Identity(TypedDict):
    """A process of this boot: the same number with another start time is another process."""

    pid: int
    start: str
    boot: str


_LINUX = sys.platform.startswith("linux")
_boot: Dict[str, str] = {}


def boot_id() -> str:
    """A name of this boot of the machine."""
    if "id" not in _boot:
        _boot["id"] = _linux_boot() if _LINUX else _output("sysctl", "-n", "kern.bootsessionuuid")
    return _boot["id"]


def identify(pid: int) -> Optional[Identity]:
    """The living process `pid`, or None (a zombie is dead: it only waits for its parent)."""
    start = _linux_start(pid) if _LINUX else ps_start(pid)
    return None if start is None else {"pid": pid, "start": start, "boot": boot_id()}


def myself() -> Identity:
    """This process."""
    found = identify(os.getpid())
    return found if found else {"pid": os.getpid(), "start": "", "boot": boot_id()}


def alive(identity: Identity) -> bool:
    """Whether that very process still runs."""
    return identity["boot"] == boot_id() and identify(identity["pid"]) == identity


def program_of(pid: int) -> str:
    """The command line of a process, shortened, for messages."""
    if _LINUX:
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as stream:
                line = stream.read(2000).replace(b"\0", b" ").decode("utf-8", "replace").strip()
        except OSError:
            line = ""
    else:
        line = _output("ps", "-o", "command=", "-p", str(pid))
    return line if len(line) <= 120 else line[:117] + "..."


def with_argument(word: str) -> Optional[int]:
    """The pid of a process that was started with exactly this argument, or None."""
    if not _LINUX:
        lines = _output("ps", "-axwwo", "pid=,command=").splitlines()
        return next((int(line.split()[0]) for line in lines if (line + " ").find(" %s " % word) >= 0), None)
    wanted = os.fsencode(word)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as stream:
                    words = stream.read().split(b"\0")
            except OSError:
                continue
            if wanted in words:
                return int(entry)
    return None


def ps_start(pid: int) -> Optional[str]:
    """Start time as `ps` tells it (macOS; it has no /proc)."""
    # "stat" first: its one word ends before the date, whose words contain spaces.
    state, _, start = _output("ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)).partition(" ")
    return None if not state or state.startswith("Z") else " ".join(start.split())


def _linux_start(pid: int) -> Optional[str]:
    try:
        with open("/proc/%d/stat" % pid, "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()  # the name in () may hold anything
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def _linux_boot() -> str:
    with open("/proc/sys/kernel/random/boot_id") as stream:
        return stream.read().strip()


def _output(*argv: str) -> str:
    environment = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
                              stdin=subprocess.DEVNULL, timeout=10, check=False)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip()
