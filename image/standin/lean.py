"""Keeps optional extras of our libraries out of the process (memory budget of D14: 45 MB resident).

On a laptop the stand-in shares its virtual environment with the whole project, and three libraries import
large extras just because they are installed there: PyMySQL takes `cryptography`, redis-py takes
`opentelemetry`, uvicorn takes `watchfiles`: 11 MB that the image doesn't have and that nothing here uses.
Leaving them out makes both alike.
"""

import sys
from types import ModuleType
from typing import cast

#: Top-level modules that are refused. Each library above goes on without them.
UNUSED_EXTRAS = ("cryptography", "nacl", "opentelemetry", "watchfiles")


def refuse_unused_extras() -> None:
    """Makes `import` of each extra fail with `ModuleNotFoundError`, as Python documents for a `None` entry.

    Only for the start of a program of ours: it is for the whole process. What was imported before stays.
    """
    modules = cast(dict[str, ModuleType | None], sys.modules)
    for name in UNUSED_EXTRAS:
        modules.setdefault(name, None)
