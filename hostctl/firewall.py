"""The firewall of this host: put in place, compared, put back at boot, taken away again (D11).

What can go wrong leaves the host as it was: one transaction for each family, what is active is read back, and if that
is not what was asked for, the state before is put back. SSH is never among the ports, and nothing else is ever dropped.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import List, Mapping, Optional, Sequence, Tuple, TypedDict, cast

from hostctl import boot_unit, firewall_definition, iptables, schema
from hostctl import firewall_rules as ours
from hostctl import firewall_table as tables
from hostctl.errors import HostctlError
from hostctl.firewall_definition import Firewall
from hostctl.firewall_table import Table
from hostctl.iptables import Family
from hostctl.layout import Layout, read_json, write_json
from hostctl.layout import remove as remove_file

_ROUTES = ((Path("/proc/net/route"), 0, 1, "00000000"), (Path("/proc/net/ipv6_route"), 9, 0, "0" * 32))
"""Where the kernel tells its routes: file, column of the interface, column of the destination, a default route's."""


_record_form = schema.record(
    {
        "firewall": firewall_definition.check,
        "uplinks": schema.listing(schema.text(re.compile(r"[A-Za-z0-9_.-]{1,15}"), "no name of an interface")),
    }
)


class Record(TypedDict):
    """`state/firewall.json`: what has to be put back at boot."""

    firewall: Firewall
    uplinks: List[str]


def problems(layout: Layout, definition: Mapping[str, object]) -> List[str]:
    """Why the firewall of a host's definition can't be had here, before anything is touched."""
    firewall = _firewall_of(definition)
    if firewall is None:
        return []
    session = os.environ.get("SSH_CONNECTION", "").split(" ")[-1]
    if session.isdigit() and int(session) in ours.ports_of(firewall):
        return ["firewall: port %s is what this very SSH connection came in by: it is never closed" % session]
    if os.geteuid() != 0:
        return ["firewall: only root can set it up: connect as root"]
    lacking = iptables.missing(iptables.families()) or boot_unit.problem()
    if lacking:
        return ["firewall: " + lacking]
    return [problem for problem in [_somebody_elses(layout)] if problem]


def apply(layout: Layout, definition: Mapping[str, object]) -> List[str]:
    """Makes the firewall what the host's definition says; says what changed, nothing when nothing did.

    To be called with the host's lock. A definition whose `firewall` is None has none: one from before is removed.
    """
    firewall = _firewall_of(definition)
    if firewall is None:
        return remove(layout) if layout.firewall.exists() else []
    found = problems(layout, definition)
    if found:
        raise HostctlError("; ".join(found))
    before = _record(layout)
    words = _converge(layout, _wanted(firewall, before), before)
    words += boot_unit.install(layout)
    if words:
        words += notices()
    return ["firewall: " + word for word in words]


def restore(layout: Layout) -> List[str]:
    """Puts back what is on record, at boot: needs neither Docker nor the network."""
    record = _record(layout)
    if record is None:
        return []
    lacking = iptables.missing(iptables.families())
    if lacking:
        raise HostctlError("firewall: " + lacking)
    return ["firewall: " + word for word in _converge(layout, record, record)]


def check(layout: Layout, definition: Mapping[str, object]) -> str:
    """How the firewall isn't as this definition says ("" when it is), in words that stay the same until it changes."""
    firewall = _firewall_of(definition)
    if firewall is None:
        return "the firewall is still there" if layout.firewall.exists() else ""
    try:
        record = _record(layout)
        wanted = _wanted(firewall, record)
        found = _active_difference(layout, wanted)
    except HostctlError as error:
        return "the firewall can't be read: %s" % error
    if not found and record != wanted:
        found = "the firewall on record for the next boot is not this one"
    return found or boot_unit.difference(layout)


def remove(layout: Layout) -> List[str]:
    """Takes all that is ours away, also where its records are gone; says what was there."""
    words: List[str] = []
    for family in iptables.families():
        if iptables.missing([family]):
            continue  # without the programs nobody can have put rules there
        before = iptables.read(family)
        if not tables.removal(before) or _somebody_elses(layout, before):
            continue
        iptables.change(family, tables.removal, before)
        words.append("%s rules removed" % family.words)
    words += boot_unit.uninstall(layout)
    if remove_file(layout.firewall) and not words:
        words.append("forgotten")
    return ["firewall: " + word for word in words]


def notices() -> List[str]:
    """What the firewall can't do on this host."""
    found: List[str] = []
    if iptables.IPV6 not in iptables.families():
        found.append("this host has no IPv6, so there are no rules for it")
    if not boot_unit.has_systemd():
        found.append("no systemd runs here: run `hostctl firewall restore` at boot, before Docker starts")
    return found


def _firewall_of(definition: Mapping[str, object]) -> Optional[Firewall]:
    return cast("Optional[Firewall]", definition["firewall"])


def _wanted(firewall: Firewall, before: Optional[Record]) -> Record:
    """An interface that was one to the outside once stays so: at boot there are no routes yet."""
    known = before["uplinks"] if before else []
    return {"firewall": firewall, "uplinks": sorted(set(_uplinks() + known))}


def _converge(layout: Layout, wanted: Record, before: Optional[Record]) -> List[str]:
    """Rules first on record, then active: whoever is killed in between is finished by the next boot or run."""
    if wanted != before:
        write_json(layout.firewall, wanted)
    states = [(family, iptables.read(family)) for family in iptables.families()]
    changed: List[Family] = []
    try:
        for family, state in states:
            if _change(layout, wanted, family, state):
                changed.append(family)
        left = _active_difference(layout, wanted) if changed else ""
        if left:
            raise HostctlError("what is active is not what was asked for (%s)" % left)
    except HostctlError as error:
        raise HostctlError("firewall: %s; %s" % (error, _put_back(layout, before, states))) from None
    return ["%s: %s" % (family.words, _summary(wanted["firewall"], family)) for family in changed]


def _change(layout: Layout, wanted: Record, family: Family, state: Table) -> bool:
    rules = _rules(layout, wanted, family)
    ports = ours.ports_of(wanted["firewall"])
    if not tables.transaction(state, rules, ports):
        return False
    iptables.change(family, lambda table: tables.transaction(table, rules, ports), state)
    return True


def _put_back(layout: Layout, record: Optional[Record], states: Sequence[Tuple[Family, Table]]) -> str:
    """What was there before: rules and record. Says how that went."""
    if record is None:
        remove_file(layout.firewall)
    else:
        write_json(layout.firewall, record)
    left: List[str] = []
    for family, state in states:
        try:
            now = iptables.read(family)
            if tables.share(now) != tables.share(state):
                iptables.change(family, lambda table, state=state: tables.undo(state, table), now)
                if tables.share(iptables.read(family)) != tables.share(state):
                    left.append("%s rules are not what they were before" % family.words)
        except HostctlError as error:
            left.append("%s rules could not be put back: %s" % (family.words, error))
    return "; ".join(left) or "it is as it was before"


def _active_difference(layout: Layout, wanted: Record) -> str:
    ports = ours.ports_of(wanted["firewall"])
    for family in iptables.families():
        found = tables.difference(iptables.read(family), _rules(layout, wanted, family), ports)
        if found:
            return "%s (%s)" % (found, family.words)
    return ""


def _rules(layout: Layout, record: Record, family: Family) -> ours.Rules:
    return ours.rules(record["firewall"], family.version, str(layout.root), record["uplinks"])


def _summary(firewall: Firewall, family: Family) -> str:
    limited = [entry for entry in firewall["ports"] if ours.open_to(entry, family.version)]
    to_all = [entry for entry in limited if ours.is_open_to_all(entry, family.version)]
    counts = (len(firewall["ports"]) - len(limited), len(limited) - len(to_all), len(to_all))
    return "%d ports closed to the outside, %d open to their networks only, %d open to all" % counts


def _record(layout: Layout) -> Optional[Record]:
    """What is on record, checked as if it had come in just now: the file may have been edited."""
    value = read_json(layout.firewall)
    if value is None:
        return None
    found: List[str] = []
    _record_form(value, "", found)
    if found:
        raise HostctlError("%s is damaged (%s): remove it and converge the host again" % (layout.firewall, found[0]))
    return cast(Record, value)


def _somebody_elses(layout: Layout, table: Optional[Table] = None) -> str:
    """Whose the chains are when they are another folder's that still keeps them; "" otherwise."""
    words = tables.owner(iptables.read(iptables.IPV4) if table is None else table)
    if words is None or not words.startswith("of ") or words == ours.owner_words(str(layout.root)):
        return ""
    other = words[len("of ") :]
    if read_json(Layout(other).firewall) is None:
        return ""
    return "firewall: this host's is kept by %s: remove that one first" % other


def _uplinks() -> List[str]:
    """Interfaces of the default routes that would pass for Docker's by their names (a bridge br-lan, say)."""
    found: List[str] = []
    for path, interface, destination, everywhere in _ROUTES:
        try:
            rows = [line.split() for line in path.read_text().splitlines()]
        except OSError:
            continue
        for row in rows:
            if len(row) > interface and len(row) > destination and row[destination] == everywhere:
                found.append(row[interface])
    return [name for name in found if any(_passes(name, pattern) for pattern in ours.INSIDE if pattern != "lo")]


def _passes(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern
