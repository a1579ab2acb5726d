"""The little that may come in from outside."""

from __future__ import annotations

import os
from typing import Dict

ALLOWED = ("PATH", "HOME", "LANG", "TMPDIR")


def outside_environment() -> Dict[str, str]:
    """No secret of whoever calls us ends up in a daemon or a service (D6)."""
    found = {name: os.environ[name] for name in ALLOWED if name in os.environ}
    found.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    return found
