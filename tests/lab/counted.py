"""What the processes of a stand-in have counted, put together: one line of JSON. It runs inside a lab host.

    python3 counted.py FOLDER [FIRST LAST]

FOLDER is `ROOT/data/NAME/counted`; image/standin/counted.py says what a file there holds. `ids`, `missing` and `shared`
are of the ids from FIRST to LAST only, so that one folder does for several loads. Standard library only.

`posts`: all that had an id; `doubles`: those that the same process had already; `shared`: ids that two processes had.
"""

import json
import struct
import sys
from pathlib import Path

HEAD = struct.Struct("<QQ")


def main(folder: str, first: int = 0, last: int = (1 << 20) - 1) -> None:
    """Adds up every process' file."""
    posts, doubles, once, shared, processes = 0, 0, 0, 0, {}
    wanted = (1 << (last - first + 1)) - 1
    for file in sorted(Path(folder).glob("*")):
        data = file.read_bytes()
        had, again = HEAD.unpack_from(data)
        bits = int.from_bytes(data[HEAD.size :], "little") >> first & wanted
        posts, doubles, shared = posts + had, doubles + again, shared + (once & bits).bit_count()
        once |= bits
        if bits:
            processes[file.name] = bits.bit_count()
    ids, missing = once.bit_count(), once.bit_length() - once.bit_count()
    found = {"posts": posts, "doubles": doubles, "ids": ids, "missing": missing, "shared": shared}
    print(json.dumps({**found, "processes": processes}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
