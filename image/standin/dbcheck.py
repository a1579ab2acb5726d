"""`python -m standin.dbcheck`: one login and query for `hostctl` (contracts.md, "Database").

Reads `{"kind", "host", "port", "user", "database", "password"}` as JSON on stdin (the last three may be
absent) and prints as one line `{"ok": true, "version": …}` or
`{"ok": false, "reason": "missing" or "refused", "detail": …}`.
Exit 0 when it has printed an answer, whatever the answer; 2 with a line on stderr when the input is bad.
"""

import json
import os
import sys
import threading
from typing import cast

from standin import lean
from standin.databases import Answer, Target, bad_target, check

#: Seconds for each step on the network, and for everything: below the 5 s that `hostctl` allows by default.
STEP_SECONDS = 2.0
TOTAL_SECONDS = 4.0
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


def parse(text: bytes) -> Target:
    """The target that `text` describes. Raises `BadInput`."""
    try:
        fields: object = json.loads(text)
    except ValueError as error:
        raise BadInput("stdin is not JSON") from error
    if not isinstance(fields, dict):
        raise BadInput("stdin is not a JSON object")
    known = cast(dict[str, object], fields)
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
    return target


def check_in_time(target: Target, step_seconds: float, total_seconds: float) -> Answer:
    """`check`, ended after `total_seconds`: looking up a name has no timeout, nor have many slow steps."""
    found: list[Answer] = []
    thread = threading.Thread(target=lambda: found.append(check(target, step_seconds)), daemon=True)
    thread.start()
    thread.join(total_seconds)
    return found[0] if found else Answer(False, reason="missing", detail="timed out")


def as_json(answer: Answer) -> str:
    """The answer as the contract writes it."""
    if answer.ok:
        return json.dumps({"ok": True, "version": answer.version})
    return json.dumps({"ok": False, "reason": answer.reason, "detail": answer.detail})


def main() -> int:
    """Runs the check of stdin; returns the exit code."""
    lean.refuse_unused_extras()
    try:
        target = parse(sys.stdin.buffer.read(MAX_INPUT))
    except BadInput as error:
        print(f"standin.dbcheck: {error}", file=sys.stderr)
        return 2
    print(as_json(check_in_time(target, STEP_SECONDS, TOTAL_SECONDS)), flush=True)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # a thread that still waits for a name must not hold up the end
