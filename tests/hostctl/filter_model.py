"""A model of the table `filter`: what `iptables-restore --noflush` makes of a text, and what becomes of a packet.

It knows just what our rules are made of, so that properties can be proved without root and without a kernel;
`tests/host/test_firewall.py` proves that the kernel agrees.
"""

from __future__ import annotations

import copy
import ipaddress
from dataclasses import dataclass

from hostctl.firewall_meaning import meaning
from hostctl.firewall_table import Table

BUILT_IN = ("INPUT", "FORWARD", "OUTPUT")


class Refused(Exception):
    """What iptables-restore would refuse; nothing of the text has been done then."""


def restore(table: Table, text: str) -> Table:
    """The table after one transaction."""
    if not text:
        return table
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == ("*filter", "COMMIT")
    after = copy.deepcopy(table)
    for name in BUILT_IN:
        after.setdefault(name, [])
    for line in lines[1:-1]:
        _do(after, line)
    return after


def _do(table: Table, line: str) -> None:
    if line.startswith(":"):
        table[line[1:].split()[0]] = []
        return
    command, chain, *rest = line.split(" ", 2)
    rule = rest[0] if rest else ""
    if (command != "-N") != (chain in table):
        raise Refused(line)
    if command == "-N":
        table[chain] = []
    elif command == "-A":
        _known(table, rule)
        table[chain].append(rule)
    elif command == "-I":
        place, rule = rule.split(" ", 1)
        _known(table, rule)
        table[chain].insert(int(place) - 1, rule)
    elif command == "-D":
        if rule not in table[chain]:
            raise Refused(line)
        table[chain].remove(rule)
    elif command == "-F":
        table[chain].clear()
    elif command == "-X":
        if table[chain] or any(meaning(rule).target == chain for rules in table.values() for rule in rules):
            raise Refused(line)
        del table[chain]
    else:
        raise Refused(line)


def _known(table: Table, rule: str) -> None:
    target = meaning(rule).target
    if target not in table and target not in ("DROP", "RETURN", "ACCEPT", "REJECT", "LOG"):
        raise Refused(rule)


@dataclass(frozen=True)
class Packet:
    """What our rules can see of a packet."""

    interface: str
    source: str
    destination: str
    port: int
    asked_port: int
    """The port before Docker changed it."""
    protocol: str = "tcp"
    state: str = "NEW"
    forwarded_by_docker: bool = False


def dropped(table: Table, chain: str, packet: Packet) -> bool:
    """Whether the packet ends in this chain or one below it."""
    for rule in table[chain]:
        found = meaning(rule)
        if not all(_matches(option, value, packet) for option, value in found.matches):
            continue
        if found.target == "DROP":
            return True
        if found.target in ("RETURN", "ACCEPT"):
            return False
        if dropped(table, found.target, packet):
            return True
    return False


def _matches(option: str, value: str, packet: Packet) -> bool:
    if option == "-i":
        return packet.interface.startswith(value[:-1]) if value.endswith("+") else packet.interface == value
    if option in ("-s", "-d"):
        address = packet.source if option == "-s" else packet.destination
        return ipaddress.ip_address(address) in ipaddress.ip_network(value)
    if option == "--ctstate":
        states = {packet.state, *(["DNAT"] if packet.forwarded_by_docker else [])}
        return bool(states & set(value.split(",")))
    plain = {"-p": packet.protocol, "--dport": str(packet.port), "--ctorigdstport": str(packet.asked_port)}
    plain |= {"--ctdir": "ORIGINAL", "--comment": value}
    return plain[option] == value
