"""Puts hostctl in place on this machine, from its sources: `python -m hostctl.here ROOT PYTHON DIGEST [LABEL]`.

What runs is `install.sh`, as on a server. But where the sources are at hand nobody has to carry the zipapp along:
the command that Pulumi keeps and shows names its digest instead. stdin: the host's definition.
"""

from __future__ import annotations

import subprocess
import sys
from typing import List

from hostctl import pack


def install(arguments: List[str], definition: str) -> int:
    """Runs the installer; gives its exit code. 2 when the sources are not those that `DIGEST` names."""
    if len(arguments) not in (3, 4):
        print("usage: python -m hostctl.here ROOT PYTHON DIGEST [LABEL]", file=sys.stderr)
        return 2
    root, python, digest, label = arguments[0], arguments[1], arguments[2], arguments[3:]
    bundle = pack.bundle()
    if bundle.digest != digest:
        print("hostctl's sources changed while this ran (%s): run it again" % bundle.digest, file=sys.stderr)
        return 2
    lines = [root, python, digest, bundle.payload, definition.strip()]
    done = subprocess.run(
        ["sh", "-c", bundle.script, "install", *label], input="\n".join(lines) + "\n", text=True, check=False
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(install(sys.argv[1:], sys.stdin.read()))
