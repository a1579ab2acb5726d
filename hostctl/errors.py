"""What a verb may end with; `cli.py` turns each into a message and an exit code."""

from __future__ import annotations


class HostctlError(Exception):
    """Did not work; the host was left working (exit 1)."""

    exit_code = 1


class BadInput(HostctlError):
    """The input is wrong; nothing was touched (exit 2)."""

    exit_code = 2


class Interrupted(HostctlError):
    """Somebody pressed Ctrl-C or sent SIGTERM; finished or rolled back first."""


class RuntimeRefused(HostctlError):
    """The runtime would not read the new files; it goes on as before."""
