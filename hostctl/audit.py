"""Who changed what when: ROOT/state/audit.log, append-only, one JSON object a line. Never a secret."""

from __future__ import annotations

import json
import os
import pwd
import time
from typing import Any, Dict

from hostctl.console import say_once
from hostctl.layout import Layout


def whoami() -> str:
    """The person behind this run, as far as the system tells."""
    return " ".join("%s=%s" % pair for pair in _who().items())


def record(layout: Layout, verb: str, name: str, outcome: str, **details: Any) -> None:
    """Adds one line. One write to a file opened for appending: lines of two runs never mix.

    A full disk is said and no more: what the line tells of has happened, or failed for a reason of its own.
    """
    line: Dict[str, Any] = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "who": _who(),
        "verb": verb,
        "name": name,
        "outcome": outcome,
        "pid": os.getpid(),
    }
    line.update(details)
    try:
        _append(str(layout.audit), (json.dumps(line, sort_keys=True) + "\n").encode("utf-8"))
    except FileNotFoundError:
        pass  # nothing was ever converged here
    except OSError as error:
        say_once("%s: %s; the audit log has a gap" % (layout.audit, error.strerror))


def _append(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _who() -> Dict[str, str]:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name  # not $USER, which anyone may set
    except KeyError:
        user = "uid %d" % os.getuid()
    who = {"user": user}
    if os.environ.get("SUDO_USER"):
        who["sudo"] = os.environ["SUDO_USER"]
    if os.environ.get("SSH_CLIENT"):
        who["ssh"] = os.environ["SSH_CLIENT"].split(" ")[0]
    return who
