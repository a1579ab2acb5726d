"""Asking a database by its definition's own client: a real login and query (P2, P3).

hostctl speaks no database protocol.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, cast

from hostctl import paths
from hostctl.environment import outside_environment
from hostctl.errors import HostctlError
from hostctl.forms import DatabaseCheck, DatabaseDefinition
from hostctl.redact import redact

LONGEST_DETAIL = 200


class Found(NamedTuple):
    """What the client found, and what it made where it was to set something up."""

    state: str  # reused, missing, refused
    detail: str
    created: Tuple[str, ...] = ()
    changed: Tuple[str, ...] = ()
    notices: Tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The observed label."""
        return self.state if self.state == "reused" else "%s: %s" % (self.state, self.detail)


class CheckBroken(HostctlError):
    """The client itself did not work, which says nothing about the database."""


def check(base: str, definition: DatabaseDefinition, secrets: Dict[str, str], admin: Optional[str] = None) -> Found:
    """Runs the client: input and passwords on its stdin (never in its arguments), one line of JSON back.

    With the password of the `admin` it makes what the definition's `setup` lists; without, it only looks.
    """
    spec = definition["check"]
    question = dict(spec["input"])
    setup = question.pop("setup", None)
    if setup is not None and admin is not None:
        question["setup"] = dict(setup, admin_password=admin)
    if "PASSWORD" in secrets:
        question["password"] = secrets["PASSWORD"]
    hidden = [*secrets.values(), *([admin] if admin else [])]
    answer = _ask(base, spec, json.dumps(question).encode("utf-8"), definition["name"], hidden)
    done = [_texts(answer.get(key), hidden) for key in ("created", "changed", "notices")]
    if answer.get("ok") is True:
        return Found("reused", str(answer.get("version", "")), *done)
    if answer.get("ok") is not False or answer.get("reason") not in ("missing", "refused"):
        raise CheckBroken("the check of %s gave an answer that is none" % definition["name"])
    return Found(str(answer["reason"]), _text(answer.get("detail", ""), hidden)[:LONGEST_DETAIL], *done)


def _text(said: object, hidden: List[str]) -> str:
    return " ".join(redact(str(said), hidden).split())


def _texts(said: object, hidden: List[str]) -> Tuple[str, ...]:
    return tuple(_text(one, hidden) for one in cast("List[object]", said)) if isinstance(said, list) else ()


def _ask(base: str, spec: DatabaseCheck, question: bytes, name: str, hidden: List[str]) -> Dict[str, Any]:
    argv = [paths.program(base, spec["argv"][0]), *spec["argv"][1:]]
    try:
        client = subprocess.Popen(
            argv,
            cwd=paths.under(base, spec["cwd"]),
            env=outside_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise CheckBroken("the check of %s can't be run: %s: %s" % (name, argv[0], error.strerror)) from None
    try:
        output, errors = client.communicate(question, timeout=float(spec["timeout_seconds"]))
    except subprocess.TimeoutExpired:
        _kill(client)
        return {"ok": False, "reason": "missing", "detail": "no answer within %g s" % spec["timeout_seconds"]}
    lines = output.decode("utf-8", "replace").strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        said = errors.decode("utf-8", "replace").strip().splitlines()
        last = redact(said[-1], hidden)[:LONGEST_DETAIL] if said else "it said nothing"
        raise CheckBroken("the check of %s ended with exit code %d: %s" % (name, client.returncode, last))
    return cast("Dict[str, Any]", answer)


def _kill(client: "subprocess.Popen[bytes]") -> None:
    with suppress(OSError):
        os.killpg(client.pid, signal.SIGKILL)
    client.communicate()
