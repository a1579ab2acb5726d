"""Plan -> the exact definitions and files of a host (P4, P7).

Definitions are what `hostctl` gets on stdin (docs/contracts.md); files are what it assembles of their
parts, by the same algorithm (`hostctl.assemble`). Never secret.
"""

from __future__ import annotations

from plan.render.definitions import (
    Definition,
    Part,
    database_definition,
    definitions,
    host_definition,
    host_files,
    service_definition,
)
from plan.render.edge import edge_definition
from plan.render.images import image_definition, image_delivery

__all__ = [
    "Definition",
    "Part",
    "database_definition",
    "definitions",
    "edge_definition",
    "host_definition",
    "host_files",
    "image_definition",
    "image_delivery",
    "service_definition",
]
