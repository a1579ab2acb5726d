"""`hostctl host` does this with the firewall's part of its definition: `python firewall_run.py ROOT apply|check`.

stdin: the definition. stdout: what `apply` or `check` gave, as JSON.
"""

from __future__ import annotations

import json
import sys

from hostctl import firewall
from hostctl.errors import HostctlError
from hostctl.layout import Layout
from hostctl.lock import HostLock

if __name__ == "__main__":
    layout, definition = Layout(sys.argv[1]), json.load(sys.stdin)
    layout.make()
    try:
        with HostLock(layout, "firewall").held():
            said = getattr(firewall, sys.argv[2])(layout, definition)
    except HostctlError as error:
        sys.exit(str(error))
    print(json.dumps(said))
