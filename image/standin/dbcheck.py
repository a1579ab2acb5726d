"""`python -m standin.dbcheck`: one login and query for `hostctl` (contracts.md, "Database").

Reads `{"kind", "host", "port", "user", "database", "password"}` as JSON on stdin (the last three may be
absent) and prints as one line `{"ok": true, "version": …}` or
`{"ok": false, "reason": "missing" or "refused", "detail": …}`.

With `"setup": {"admin", "admin_password", "user", "databases", "prefixes", "subnet"}` the user and its databases are
made first, where they aren't there; the answer then says what was `created` and `changed`, and what isn't ours and was
left as it is (`notices`).
Exit 0 when it has printed an answer, whatever the answer; 2 with a line on stderr when the input is bad.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import cast

from standin import lean
from standin.databases import Answer, Target, answered, bad_target, check
from standin.setup_plan import Done, Setup

#: Seconds for each step on the network, and for everything: below the 5 s that `hostctl` allows by default.
STEP_SECONDS = 2.0
TOTAL_SECONDS = 4.0
#: The same for a setup, which is many steps, some of which write: below the time that a server's definition allows.
SETUP_STEP_SECONDS = 8.0
SETUP_TOTAL_SECONDS = 24.0
#: Longest input, in bytes.
MAX_INPUT = 65_536


class BadInput(Exception):
    """The input is not a target. Its text never repeats a value that could be a password."""


def _text(fields: dict[str, object], key: str) -> str:
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadInput(f"{key} is not a text")
    return value


def _texts(fields: dict[str, object], key: str) -> tuple[str, ...]:
    value = fields.get(key, [])
    texts = cast(list[object], value) if isinstance(value, list) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise BadInput(f"{key} is not a list of texts")
    return tuple(cast(list[str], texts))


def _fields(text: bytes) -> dict[str, object]:
    try:
        fields: object = json.loads(text)
    except ValueError as error:
        raise BadInput("stdin is not JSON") from error
    if not isinstance(fields, dict):
        raise BadInput("stdin is not a JSON object")
    return cast(dict[str, object], fields)


def parse(text: bytes) -> tuple[Target, Setup | None]:
    """The target that `text` describes, and what is to be set up there. Raises `BadInput`."""
    known = _fields(text)
    port = known.get("port")
    if not isinstance(port, int) or isinstance(port, bool):
        raise BadInput("port is not a whole number")
    target = Target(
        kind=_text(known, "kind"),
        host=_text(known, "host"),
        port=port,
        user=_text(known, "user"),
        password=_text(known, "password"),
        database=_text(known, "database"),
    )
    wrong = bad_target(target)
    if wrong is not None:
        raise BadInput(wrong)
    return target, _setup(target, known.get("setup"))


def _setup(target: Target, given: object) -> Setup | None:
    if given is None:
        return None
    from standin.setup import bad_setup

    if not isinstance(given, dict):
        raise BadInput("setup is not an object")
    fields = cast(dict[str, object], given)
    wanted = Setup(
        admin=_text(fields, "admin"),
        admin_password=_text(fields, "admin_password"),
        user=_text(fields, "user"),
        databases=_texts(fields, "databases"),
        prefixes=_texts(fields, "prefixes"),
        subnet=_text(fields, "subnet"),
    )
    wrong = bad_setup(target, wanted)
    if wrong is not None:
        raise BadInput(wrong)
    return wanted


def in_time(ask: Callable[[], Answer], total_seconds: float) -> Answer:
    """`ask`, ended after `total_seconds`: looking up a name has no timeout, nor have many slow steps."""
    found: list[Answer] = []
    thread = threading.Thread(target=lambda: found.append(ask()), daemon=True)
    thread.start()
    thread.join(total_seconds)
    return found[0] if found else Answer(False, reason="missing", detail="timed out")


def check_in_time(target: Target, step_seconds: float, total_seconds: float) -> Answer:
    """`check`, ended after `total_seconds`."""
    return in_time(lambda: check(target, step_seconds), total_seconds)


def set_up(target: Target, wanted: Setup, done: Done) -> Answer:
    """Makes what `wanted` lists and checks it; `done` says what was made."""
    from standin.setup import run

    def ask() -> Answer:
        secrets = (target.password, wanted.admin_password)
        return answered(target, lambda: run(target, wanted, SETUP_STEP_SECONDS, done), secrets)

    return in_time(ask, SETUP_TOTAL_SECONDS)


def as_json(answer: Answer, done: Done | None = None) -> str:
    """The answer as the contract writes it."""
    fields: dict[str, object] = {"ok": True, "version": answer.version}
    if not answer.ok:
        fields = {"ok": False, "reason": answer.reason, "detail": answer.detail}
    if done is not None:
        fields |= {"created": done.created, "changed": done.changed, "notices": done.notices}
    return json.dumps(fields)


def patience(arguments: list[str]) -> float:
    """Seconds for everything: the only argument, where a small busy server needs more than a laptop."""
    return float(arguments[0]) if arguments and arguments[0].isdigit() else TOTAL_SECONDS


def main() -> int:
    """Runs the check of stdin; returns the exit code."""
    lean.refuse_unused_extras()
    try:
        target, wanted = parse(sys.stdin.buffer.read(MAX_INPUT))
    except BadInput as error:
        print(f"standin.dbcheck: {error}", file=sys.stderr)
        return 2
    if wanted is None:
        total = patience(sys.argv[1:])
        print(as_json(check_in_time(target, total * STEP_SECONDS / TOTAL_SECONDS, total)), flush=True)
    else:
        done = Done()
        print(as_json(set_up(target, wanted, done), done), flush=True)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # a thread that still waits for a name must not hold up the end
