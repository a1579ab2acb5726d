"""Containers that were there before us, such as `test-mysql`: looked at, never started, stopped or recreated (D18)."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, cast

from hostctl import docker_api
from hostctl.errors import HostctlError

Inspect = Callable[[str], Optional[Dict[str, Any]]]
"""A container by its exact name, as Docker describes it; None when there is none."""


class Place(NamedTuple):
    """Where a database runs."""

    id: str  # the container's, "" when there is none
    notice: str


def place(database: str, container: str, ports: Sequence[int], look: Inspect) -> Place:
    """The container of a database; raises when one of that name is there and can't be the one.

    A container of the documented name is adopted as it is: what answers on the ports must be it.
    """
    found = look(container)
    if found is None:
        where = ", ".join(map(str, ports))
        return Place("", "%s: no container is named %s: what answers on %s is used" % (database, container, where))
    state = found["State"]
    if not state.get("Running"):
        how = "%s: the container %s is there but not running (%s): it is never started from here; `docker start %s`"
        raise HostctlError(how % (database, container, state.get("Status", "stopped"), container))
    if state.get("Paused") or state.get("Restarting"):
        how = "%s: the container %s is %s: look at `docker logs %s`"
        raise HostctlError(how % (database, container, state.get("Status", "not well"), container))
    if found["HostConfig"].get("NetworkMode") != "host":
        _require_ports(database, container, ports, published(found))
    return Place(str(found["Id"]), "")


def published(found: Dict[str, Any]) -> Set[int]:
    """The host's TCP ports that a container publishes."""
    bindings = cast("Dict[str, Any]", found["NetworkSettings"].get("Ports") or {})
    return {
        int(one["HostPort"])
        for port, held in bindings.items()
        if port.endswith("/tcp")
        for one in cast("List[Dict[str, Any]]", held or [])
        if str(one.get("HostPort", "")).isdigit()
    }


def inspect(name: str) -> Optional[Dict[str, Any]]:
    """Asks Docker; None too where there is no Docker at all."""
    path = docker_api.socket_path()
    if not os.path.exists(path):
        return None
    found = docker_api.DockerApi(path).inspect(name)
    # Docker takes the beginning of an id for a name too.
    return found if found is not None and found["Name"] == "/" + name else None


def _require_ports(database: str, container: str, ports: Sequence[int], held: Set[int]) -> None:
    lacking = [port for port in ports if port not in held]
    if not lacking:
        return
    has = ", ".join(map(str, sorted(held))) or "no port"
    wants = ", ".join(map(str, lacking))
    how = (
        "%s: the container %s publishes %s, not %s: it is never recreated from here; set databases.%s.port to what it "
    )
    how += "publishes, or make it anew with that port yourself"
    raise HostctlError(how % (database, container, has, wants, database))
