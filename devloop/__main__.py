"""`python -m devloop HOSTCTL`: watch what `HOSTCTL watches` names, restart what changed."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from devloop.reload import Reloader


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or SIGINT. Exit 2 when called wrongly."""
    if len(arguments) != 1:
        print("usage: python -m devloop HOSTCTL", file=sys.stderr)
        return 2
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    Reloader(Path(arguments[0])).run(stop)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
