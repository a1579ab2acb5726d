"""The host definition's key `firewall`: which ports this stack has, and who may reach them from outside (D11)."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, List, TypedDict, cast

from hostctl import schema

OWNER = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class FirewallPort(TypedDict):
    """One TCP port of the host and the networks outside of it that may reach it; none: it is closed to the outside."""

    port: int
    owner: str
    open_to: List[str]


class Firewall(TypedDict):
    """What the firewall knows: nothing but these ports is ever closed, and never `ssh_port`."""

    ssh_port: int
    network: str
    """The services' own network: what is routed straight to its containers counts as well."""
    ports: List[FirewallPort]


def _ports_once(value: Any, where: str, problems: List[str]) -> None:
    firewall = cast(Firewall, value)
    seen = {firewall["ssh_port"]: "SSH's, which is never closed"}
    for index, entry in enumerate(firewall["ports"]):
        port = entry["port"]
        if port in seen:
            problems.append("%s.ports[%d].port is %d: it is %s" % (where, index, port, seen[port]))
        seen.setdefault(port, "there already, for %s" % entry["owner"])


def _cidr(value: Any, where: str, problems: List[str]) -> None:
    rule = "a network is written like 10.0.0.0/8 or 2001:db8::/32, without bits behind its length"
    try:
        sound = isinstance(value, str) and "/" in value and str(ipaddress.ip_network(value)) == value
    except ValueError:
        sound = False
    if not sound:
        problems.append("%s is %r: %s" % (where, value, rule))


def _ipv4(value: Any, where: str, problems: List[str]) -> None:
    if ":" in value:
        problems.append("%s is %r: the services' network is one of IPv4" % (where, value))


check = schema.then(
    schema.record(
        {
            "ssh_port": schema.whole(1, 65535),
            "network": schema.then(_cidr, _ipv4),
            "ports": schema.listing(
                schema.record(
                    {
                        "port": schema.whole(1, 65535),
                        "owner": schema.text(OWNER, "names are a-z, 0-9 and -, and start with a letter or digit"),
                        "open_to": schema.listing(_cidr),
                    }
                )
            ),
        }
    ),
    _ports_once,
)
"""Adds what is wrong with such a key: a form, a port twice, SSH's port among the ports."""
