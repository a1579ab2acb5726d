"""Ports for tests: below the range that the system hands out by itself, each worker of xdist in a range of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket

_FIRST, _LAST, _WORKERS = 12000, 32000, 8
_WIDTH = (_LAST - _FIRST) // _WORKERS
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _WORKERS
_MINE = range(_FIRST + _WORKER * _WIDTH, _FIRST + (_WORKER + 1) * _WIDTH)
# From anywhere in it: another run of the tests may be going on beside this one.
_CANDIDATES = itertools.islice(itertools.cycle(_MINE), random.randrange(_WIDTH), None)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment, in the order in which they will come round again."""
    found: list[int] = []
    while len(found) < count:
        candidate = next(_CANDIDATES)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("0.0.0.0", candidate))
                found.append(candidate)
    return found
