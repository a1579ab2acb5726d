"""The programs `iptables-save` and `iptables-restore`, for IPv4 and IPv6, whichever backend they resolve to."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Sequence

from hostctl.errors import HostctlError
from hostctl.firewall_table import Table, parse

LOCK_SECONDS = 10
"""How long another program may hold xtables' lock."""
_LONGEST_SECONDS = 60.0
_TRIES = 4
# An SSH command and systemd may both run without root's folders on PATH.
_SBIN = "/usr/sbin:/sbin:/usr/local/sbin"
_INTERFACES = Path("/proc/net/if_inet6")


class Family(NamedTuple):
    """IPv4 or IPv6."""

    version: int
    command: str

    @property
    def words(self) -> str:
        return "IPv%d" % self.version


IPV4, IPV6 = Family(4, "iptables"), Family(6, "ip6tables")


def families() -> List[Family]:
    """The families that this kernel speaks: without IPv6 nothing can come in by it."""
    return [IPV4, IPV6] if _INTERFACES.exists() else [IPV4]


def missing(wanted: Sequence[Family]) -> str:
    """Which program is missing here and what brings it; "" when all are there."""
    for family in wanted:
        for tool in ("-save", "-restore"):
            if _path(family.command + tool) is None:
                return "%s is missing here: install the package iptables (apt-get install iptables)" % (
                    family.command + tool
                )
    return ""


def read(family: Family) -> Table:
    """The table `filter` as it is now."""
    return parse(saved(family))


def saved(family: Family) -> str:
    """The same as `iptables-save` prints it, with the chains' policies."""
    return _run(family, "-save", ["-t", "filter"])


def change(family: Family, lines_for: Callable[[Table], str], before: Table) -> None:
    """Makes one transaction of what `lines_for` says of the table, all of it or nothing.

    When the table changed after it was read (Docker starts, say), it is read and asked for again.
    """
    table: Optional[Table] = before
    for left in reversed(range(_TRIES)):
        assert table is not None
        text = lines_for(table)
        if not text:
            return
        try:
            _run(family, "-restore", ["--noflush", "-w", str(LOCK_SECONDS)], text)
            return
        except HostctlError:
            now = read(family)
            if not left or now == table:
                raise
            table = now


def _run(family: Family, tool: str, arguments: Sequence[str], text: str = "") -> str:
    name = family.command + tool
    command = [_path(name) or name, *arguments]
    try:
        # A session of its own: Ctrl-C ends hostctl where it can stop cleanly, not the program under it.
        done = subprocess.run(
            command,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            errors="surrogateescape",
            env=dict(os.environ, LC_ALL="C"),
            timeout=_LONGEST_SECONDS,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HostctlError("%s did not end within %d s" % (name, _LONGEST_SECONDS)) from None
    except OSError as error:
        raise HostctlError("%s did not start: %s" % (name, error.strerror)) from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("Try `")]
        raise HostctlError("%s failed: %s" % (name, "; ".join(said[:3]) or "exit code %d" % done.returncode))
    return done.stdout


def _path(name: str) -> Optional[str]:
    return shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + _SBIN)
