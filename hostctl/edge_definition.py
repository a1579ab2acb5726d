"""A service definition's keys `edge` (it is reached through the edge) and `proxy` (it is the edge itself)."""

from __future__ import annotations

import re
from typing import Any, List, Mapping, Optional, cast

from hostctl import schema
from hostctl.forms import Behind, Proxy

ROLLING, RECREATE = "rolling", "recreate"
ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
PATH = re.compile(r"/[!-~]{0,199}")
SOCKETS = re.compile(r"run/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
# No colon: it stands between folders where the compose file mounts them.
FOLDER = re.compile(r"(/[A-Za-z0-9_. /+@%,=~-]{0,254})?")

behind = schema.optional(
    schema.record(
        {
            "address": schema.text(ADDRESS, "not an IPv4 address"),
            "ports": schema.listing(schema.whole(1, 65535), least=2, most=2),
            "update": schema.one_of(ROLLING, RECREATE),
            "ready": schema.text(PATH, "it must be a path such as /ready"),
            "settle_seconds": schema.number(0, 3600),
        }
    )
)
"""The key `edge`."""

proxy = schema.optional(
    schema.record(
        {
            "file": schema.text(empty=False),
            "sockets": schema.text(SOCKETS, "it must be a folder in run, such as run/edge"),
            "certificates": schema.text(FOLDER, "it must be an absolute folder of the host, or empty"),
        }
    )
)
"""The key `proxy`."""


def check(definition: Mapping[str, Any], where: str, found: List[str]) -> None:
    """Adds what does not fit together in a service's definition whose every key is sound by itself."""
    edge = cast("Optional[Behind]", definition.get("edge"))
    if edge:
        found += _behind_problems(edge, definition["ports"])
    proxy = cast("Optional[Proxy]", definition.get("proxy"))
    if proxy and proxy["file"] not in definition.get("files", {}):
        found.append("proxy.file is %r: it must be one of the definition's own files" % proxy["file"])
    if edge and proxy:
        found.append("edge and proxy can't both be there: the edge is not behind itself")
    if (edge or proxy) and not definition["launch"].get("image"):
        found.append("%s needs a container: launch.image is missing" % ("edge" if edge else "proxy"))


def _behind_problems(edge: Behind, ports: List[int]) -> List[str]:
    first, second = edge["ports"]
    found: List[str] = []
    # Published as a range: the two containers of an update get one each.
    if second != first + 1:
        found.append("edge.ports are %d and %d: they must be two that follow each other" % (first, second))
    if len(ports) != 1:
        found.append("ports must be exactly one: edge has one pair for it")
    for port in sorted(set(ports) & set(edge["ports"])):
        found.append("edge.ports has %d, which the edge itself listens on" % port)
    return found
