"""What the processes of a stand-in have counted, put together: `python3 counted.py FOLDER` prints one line of JSON.

FOLDER is `ROOT/data/NAME/counted`; image/standin/counted.py says what a file there holds. Standard library only: it
runs inside a lab host. `twice`: ids that were counted more than once, by one process or by two.
"""

import json
import struct
import sys
from pathlib import Path

HEAD = struct.Struct("<QQ")


def main(folder: str) -> None:
    """Adds up every process' file."""
    posts, once, twice, processes = 0, 0, 0, {}
    for file in sorted(Path(folder).glob("*")):
        data = file.read_bytes()
        had, doubles = HEAD.unpack_from(data)
        bits = int.from_bytes(data[HEAD.size :], "little")
        posts += had
        twice += doubles + (once & bits).bit_count()
        once |= bits
        processes[file.name] = had
    missing = once.bit_length() - once.bit_count()
    found = {"posts": posts, "ids": once.bit_count(), "twice": twice, "missing": missing, "processes": processes}
    print(json.dumps({**found, "highest": once.bit_length() - 1}))


if __name__ == "__main__":
    main(sys.argv[1])
