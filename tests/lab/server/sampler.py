"""Every command line that `ps axww` could have shown, as long as it runs: `sampler.py FILE`.

Looks every 20 ms and appends each command line that it hasn't seen yet, as one line. Ends when FILE is removed.
"""

import os
import sys
import time
from pathlib import Path

EVERY_SECONDS = 0.02


def look(seen):
    """The command lines that are new."""
    for entry in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names, and quickly
        try:
            words = Path("/proc", entry, "cmdline").read_bytes()
        except OSError:
            continue
        if words and words not in seen:
            seen.add(words)
            yield words


def main(path):
    """Look until the file is gone."""
    seen = set()
    file = Path(path)
    with file.open("ab", buffering=0) as stream:
        while file.exists():
            for words in look(seen):
                stream.write(words.rstrip(b"\0").replace(b"\n", b" ").replace(b"\0", b" ") + b"\n")
            time.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
