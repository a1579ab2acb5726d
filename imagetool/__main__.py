"""The command line: `python -m imagetool push|build NAME IMAGE [--observed LABEL]`, the delivery as JSON on stdin.

IMAGE is what the stack file names; the delivery (plan/render/images.py) says to which server it goes, and as what.
Progress on stderr, the server's result as one line of JSON on stdout. Exit 0: it is there; 1: it isn't, and the server
has what it had; 2: wrong input.
"""

from __future__ import annotations

import json
import signal
import sys
import tarfile
import tempfile
from typing import Any

from imagetool import deliver
from imagetool.errors import DeliveryError
from imagetool.server import Server


def main(arguments: list[str]) -> int:
    """Runs one delivery; gives the exit code."""
    words, label = arguments[:3], arguments[3:]
    if len(words) < 3 or words[0] not in ("push", "build") or (label and (len(label) != 2 or label[0] != "--observed")):
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _ended)
    way, name, reference = words
    try:
        delivery: dict[str, Any] = json.load(sys.stdin)
        words = [name, delivery["run_as"], *label]
        with Server(delivery["host"], words) as server:
            done = deliver.push(delivery, reference, server) if way == "push" else deliver.build(delivery, server)
    except DeliveryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (OSError, tarfile.TarError) as error:
        print(f"error: {reference}: {_local_trouble(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"error: {reference}: interrupted; the server has what it had", file=sys.stderr)
        return 130
    print(json.dumps(done, sort_keys=True))
    return 0


def _local_trouble(error: Exception) -> str:
    """What went wrong between two files of this machine: a full disk, an archive that is cut off."""
    try:
        folder = tempfile.gettempdir()
    except OSError:  # it can't be found where every candidate is full
        return f"{error}; images pass through it on this machine: make room, or let TMPDIR name another folder"
    cure = f"images pass through {folder} on this machine: is there room? TMPDIR names another folder"
    return f"{error}; {cure}; the server has what it had"


def _ended(*_: object) -> None:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
