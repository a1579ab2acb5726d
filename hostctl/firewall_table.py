"""The table `filter` as it is, and what would make our share of it right, take it away, or put it back (pure)."""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from hostctl import firewall_rules as ours
from hostctl.firewall_meaning import ANY_PORT, jumps, lets_in, meaning, same
from hostctl.firewall_rules import CHAINS, DOCKER_GATE, DOCKER_USER, GATE, Rules

Table = Dict[str, List[str]]
"""Every chain of the table -> its rules as `iptables-save` writes them, without `-A CHAIN `."""

LINKS = (("INPUT", GATE), (DOCKER_USER, DOCKER_GATE), ("FORWARD", DOCKER_GATE))
"""Chain -> the chain of ours that it has to lead to."""


def parse(saved: str) -> Table:
    """The table `filter` of what `iptables-save` printed; no chain at all where there is no such table yet."""
    table: Table = {}
    inside = False
    for line in saved.splitlines():
        if line.startswith("*"):
            inside = line == "*filter"
        elif inside and line.startswith(":"):
            table.setdefault(line[1:].split(" ", 1)[0], [])
        elif inside and line.startswith("-A "):
            _, chain, rule = (line + " ").split(" ", 2)
            table.setdefault(chain, []).append(rule.strip())
    return table


def linked(table: Table, chain: str, target: str, ports: Sequence[int]) -> bool:
    """Whether a chain leads to ours before any other of its rules can let a listed port in."""
    found = jumps(table, chain, target)
    if chain == "FORWARD" and linked(table, DOCKER_USER, DOCKER_GATE, ports):
        found = sorted(found + jumps(table, chain, DOCKER_USER))  # what Docker itself makes, always in front
    # What is forwarded has the container's port by then: a rule's --dport tells nothing about ours.
    asked = ports if chain == "INPUT" else ANY_PORT
    return bool(found) and not any(lets_in(table, rule, asked) for rule in table[chain][: found[0]])


def transaction(now: Table, wanted: Rules, ports: Sequence[int]) -> str:
    """What `iptables-restore --noflush` needs to make our chains so; "" when they are so already."""
    lines: List[str] = []
    if any(chain not in now or not same(now[chain], rules) for chain, rules in wanted.items()):
        lines += ours.declared(wanted)
    after = dict(now)
    if DOCKER_USER not in now:
        lines.append("-N %s" % DOCKER_USER)  # Docker keeps a chain of that name that it finds
        after[DOCKER_USER] = []
    for chain, target in LINKS:
        if not linked(after, chain, target, ports):
            jump = "-j %s" % target
            there = jumps(after, chain, target)
            lines += ["-D %s %s" % (chain, after[chain][index]) for index in there]
            lines.append("-I %s 1 %s" % (chain, jump))
            after[chain] = [jump, *(rule for index, rule in enumerate(after.get(chain, [])) if index not in there)]
    return ours.wrapped(lines)


def removal(now: Table) -> str:
    """What takes every trace of ours away and nothing else; "" when there is none."""
    lines = ["-D %s %s" % (chain, rule) for chain, rule in _references(now, CHAINS) if chain not in CHAINS]
    gone = [chain for chain in CHAINS if chain in now]
    if gone and _only_ours(now):
        gone.append(DOCKER_USER)
    return ours.wrapped(lines + _deleted(gone))


def undo(before: Table, now: Table) -> str:
    """What puts our share of the table back to what it was before."""
    lines = ours.declared({chain: before[chain] for chain in CHAINS if chain in before})
    for chain, target in LINKS:
        lines += ["-D %s %s" % (chain, now[chain][index]) for index in jumps(now, chain, target)]
        lines += ["-I %s %d %s" % (chain, at + 1, before[chain][at]) for at in jumps(before, chain, target)]
    gone = [chain for chain in CHAINS if chain in now and chain not in before]
    if DOCKER_USER not in before and _only_ours(now):
        gone.append(DOCKER_USER)
    return ours.wrapped(lines + _deleted(gone))


def share(table: Table) -> List[Tuple[str, str]]:
    """What of the table is ours: our chains' rules, and the rules of others' chains that lead to them."""
    own = [(chain, rule) for chain in CHAINS for rule in table.get(chain, [])]
    return own + [found for found in _references(table, CHAINS) if found[0] not in CHAINS]


def difference(now: Table, wanted: Rules, ports: Sequence[int]) -> str:
    """How our share of the table is not as it should be ("" when it is), in words that stay the same."""
    missing = [chain for chain in wanted if chain not in now]
    if len(missing) == len(wanted):
        return "the firewall is missing"
    if missing:
        return "the firewall's chain %s is missing" % missing[0]
    for chain, rules in wanted.items():
        if not same(now[chain], rules):
            return _in_chain(chain, now[chain], rules)
    for chain, target in LINKS:
        if not linked(now, chain, target, ports):
            word = "lets connections past" if jumps(now, chain, target) else "does not lead to"
            return "%s %s the firewall's chain %s" % (chain, word, target)
    return ""


def owner(now: Table) -> Optional[str]:
    """What the first rule of our chains says of whose they are; None where there are none, or nobody knows."""
    for rule in now.get(GATE, [])[:1]:
        return dict(meaning(rule).matches).get("--comment")
    return None


def _in_chain(chain: str, there: Sequence[str], wanted: Sequence[str]) -> str:
    by_port, by_port_wanted = _by_port(there), _by_port(wanted)
    for port in sorted(set(by_port) | set(by_port_wanted)):
        found, right = by_port.get(port, []), by_port_wanted.get(port, [])
        if same(found, right):
            continue
        if not port:
            break
        if len(found) < len(right):
            return "firewall rule for port %d is missing" % port
        return "firewall rule for port %d is not ours" % port
    return "the firewall's chain %s was edited" % chain


def _by_port(rules: Sequence[str]) -> Dict[int, List[str]]:
    """Rules by the port that they are about; 0 for those about none."""
    found: Dict[int, List[str]] = {}
    for rule in rules:
        matches = dict(meaning(rule).matches)
        port = matches.get("--dport", matches.get("--ctorigdstport", ""))
        found.setdefault(int(port) if port.isdigit() else 0, []).append(rule)
    return found


def _deleted(chains: Sequence[str]) -> List[str]:
    """All are emptied before the first goes: they lead to one another."""
    return ["-F %s" % chain for chain in chains] + ["-X %s" % chain for chain in chains]


def _only_ours(now: Table) -> bool:
    """Whether DOCKER-USER is one that we made: nothing of others leads to it or is in it."""
    own = set(jumps(now, DOCKER_USER, DOCKER_GATE))
    return DOCKER_USER in now and len(now[DOCKER_USER]) == len(own) and not any(_references(now, [DOCKER_USER]))


def _references(now: Table, targets: Sequence[str]) -> Iterator[Tuple[str, str]]:
    for chain, rules in now.items():
        for rule in rules:
            if meaning(rule).target in targets:
                yield chain, rule
