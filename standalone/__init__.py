"""Runs the project's Pulumi program without the Pulumi CLI.

The program is the same `__main__.py`; the engine is Pulumi's own unit-test seam (`pulumi.runtime.set_mocks`) with a
monitor that really executes `command:*` resources. The state is a Pulumi v3 deployment, so the CLI can take it over.
It stays small: no backends, no plugins, one machine.
"""

import time

STARTED = time.monotonic()  # the seconds that a summary shows include the imports
