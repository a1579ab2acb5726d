"""The rules of the firewall as text for `iptables-restore`: chains in, text out; nothing here touches a host (D11).

Four chains of our own in the table `filter`, the same for IPv4 and IPv6:

    INPUT -> BLOCKCHAIN-DAO         what comes in from outside goes on to BLOCKCHAIN-DAO-PORTS
    FORWARD -> DOCKER-USER -> BLOCKCHAIN-DAO-DOCKER   the same for what Docker forwards, -> BLOCKCHAIN-DAO-PUBLISHED

They only ever drop connections to listed ports and hand everything else back (RETURN): they open nothing that
another rule closes, and what nobody listed, SSH above all, never gets as far as a DROP.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Dict, List, Mapping, Sequence, Tuple

from hostctl.firewall_definition import Firewall, FirewallPort

GATE, PORTS = "BLOCKCHAIN-DAO", "BLOCKCHAIN-DAO-PORTS"
DOCKER_GATE, PUBLISHED = "BLOCKCHAIN-DAO-DOCKER", "BLOCKCHAIN-DAO-PUBLISHED"
CHAINS = (GATE, PORTS, DOCKER_GATE, PUBLISHED)
DOCKER_USER = "DOCKER-USER"

# Where containers' traffic comes in; `+` is "whatever follows". Docker names the bridges of its networks br-<id>.
INSIDE = ("lo", "docker0", "docker_gwbridge", "br-+")
_LONGEST_COMMENT = 200

Rules = Dict[str, List[str]]
"""Chain -> its rules in order, each as `iptables-save` writes it behind `-A CHAIN `."""


def rules(firewall: Firewall, version: int, root: str, uplinks: Sequence[str] = ()) -> Rules:
    """Our chains for one family (`version` 4 or 6).

    `uplinks`: interfaces that are outside although their names look like a Docker bridge's.
    """
    established = "-m conntrack --ctstate RELATED,ESTABLISHED"
    inside = ["-i %s -j RETURN" % name for name in INSIDE]
    # What Docker publishes, and what a neighbour's router sends straight to one of our containers.
    published = ["%s-m conntrack --ctstate DNAT -j " + PUBLISHED]
    if version == 4:
        published.append("-d " + firewall["network"] + " %s-j " + PUBLISHED)
    ports = sorted(firewall["ports"], key=lambda entry: entry["port"])
    return {
        GATE: [
            '%s -m comment --comment "%s" -j RETURN' % (established, owner_words(root)),
            *["-i %s -j %s" % (name, PORTS) for name in sorted(uplinks)],
            *inside,
            "-j %s" % PORTS,
        ],
        PORTS: _ports(ports, version, "-p tcp -m tcp --dport %d"),
        DOCKER_GATE: [
            "%s -j RETURN" % established,
            *[match % ("-i %s " % name) for name in sorted(uplinks) for match in published],
            *inside,
            *[match % "" for match in published],
        ],
        # Docker has changed the destination by then: what counts is the port that was asked for.
        PUBLISHED: _ports(ports, version, "-p tcp -m conntrack --ctorigdstport %d --ctdir ORIGINAL"),
    }


def owner_words(root: str) -> str:
    """What the first rule says of whose the chains are; two folders of one host must not fight over them."""
    return "of " + re.sub(r"[^A-Za-z0-9_./:@+=,-]", "_", root)[:_LONGEST_COMMENT]


def ports_of(firewall: Firewall) -> List[int]:
    """The listed ports."""
    return [entry["port"] for entry in firewall["ports"]]


def declared(chains: Mapping[str, Sequence[str]]) -> List[str]:
    """The lines that make chains what is given here: `iptables-restore --noflush` empties one that is declared."""
    lines = [":%s - [0:0]" % chain for chain in chains]
    return lines + ["-A %s %s" % (chain, rule) for chain, texts in chains.items() for rule in texts]


def wrapped(lines: Sequence[str]) -> str:
    """One transaction of the table `filter`; no lines, no transaction."""
    return "\n".join(["*filter", *lines, "COMMIT"]) + "\n" if lines else ""


def open_to(entry: FirewallPort, version: int) -> List[str]:
    """The networks of one family that may reach a port, in order."""
    networks = {ipaddress.ip_network(text) for text in entry["open_to"]}
    return [str(network) for network in sorted(networks, key=_order) if network.version == version]


def is_open_to_all(entry: FirewallPort, version: int) -> bool:
    """Whether all of a family may reach a port."""
    return any(network.endswith("/0") for network in open_to(entry, version))


def _order(network: object) -> Tuple[int, str]:
    assert isinstance(network, (ipaddress.IPv4Network, ipaddress.IPv6Network))
    return network.prefixlen, str(network)


def _ports(entries: Sequence[FirewallPort], version: int, match: str) -> List[str]:
    found: List[str] = []
    for entry in entries:
        if is_open_to_all(entry, version):
            continue  # there is nothing to drop
        which = "%s -m comment --comment %s" % (match % entry["port"], entry["owner"])
        found += ["-s %s %s -j RETURN" % (network, which) for network in open_to(entry, version)]
        found.append("%s -j DROP" % which)
    return found
