"""What a rule of iptables says, however it is written; and whether one lets a port in (pure)."""

from __future__ import annotations

import ipaddress
import re
import shlex
from typing import FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

ANY_PORT = None
_HARMLESS = {"", "DROP", "REJECT", "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "AUDIT", "TRACE"}
"""Targets in front of ours that let nothing in."""
_NOTHING_NEW = {"RELATED", "ESTABLISHED", "INVALID"}
_INSIDE = re.compile(r"lo|docker0|docker_gwbridge|br-[0-9a-f]{12}")


class Meaning(NamedTuple):
    """A rule without its accidents: versions of iptables write the same rule in different orders."""

    matches: FrozenSet[Tuple[str, str]]
    target: str
    goto: bool


def meaning(rule: str) -> Meaning:
    """What a rule says, as `iptables-save` writes it behind `-A CHAIN `; target `?` where nobody can read it."""
    matches: List[Tuple[str, str]] = []
    target, goto = "", False
    try:
        options = list(_options(shlex.split(rule)))
    except ValueError:
        return Meaning(frozenset([("?", rule)]), "?", False)
    for option, values in options:
        if target:
            matches.append((target + " " + option, " ".join(values)))  # what a target says of itself is behind it
        elif option in ("-j", "-g"):
            target, goto = " ".join(values), option == "-g"
        elif option != "-m":
            matches.append((option, _value(option, " ".join(values))))
    return Meaning(frozenset(matches), target, goto)


def same(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two chains say the same, rule by rule."""
    return len(one) == len(other) and all(a == b or meaning(a) == meaning(b) for a, b in zip(one, other))


def jumps(table: Mapping[str, Sequence[str]], chain: str, target: str) -> List[int]:
    """Where in a chain everything is sent on to another one."""
    wanted = Meaning(frozenset(), target, False)
    return [index for index, rule in enumerate(table.get(chain, [])) if meaning(rule) == wanted]


def lets_in(table: Mapping[str, Sequence[str]], rule: str, ports: Optional[Sequence[int]], below: bool = False) -> bool:
    """Whether a rule may let in a new connection from outside to one of these ports (`ANY_PORT`: to any).

    `below`: it stands in a chain that another one leads to; coming back from there decides nothing.
    """
    found = meaning(rule)
    if found.target in _HARMLESS or is_about_others(dict(found.matches), ports):
        return False
    if found.target == "RETURN":
        return not below
    if found.target in table and not found.goto:
        return any(lets_in(table, inner, ports, True) for inner in table[found.target])
    return True


def is_about_others(matches: Mapping[str, str], ports: Optional[Sequence[int]]) -> bool:
    """Whether a rule's matches leave out every new TCP connection from outside to these ports."""
    states = matches.get("--ctstate", matches.get("--state"))
    if states is not None and set(states.split(",")) <= _NOTHING_NEW:
        return True
    if _INSIDE.fullmatch(matches.get("-i", "")) or matches.get("-p", "tcp") not in ("tcp", "all"):
        return True
    named = matches.get("--dport", matches.get("--dports"))
    return ports is not None and named is not None and not any(_covers(piece, ports) for piece in named.split(","))


def _covers(piece: str, ports: Sequence[int]) -> bool:
    """Whether `8000`, `8000:8100`, `8000:` or `:8100` is about one of these ports."""
    first, colon, last = piece.partition(":")
    try:
        low = int(first or 0)
        high = int(last or 65535) if colon else low
    except ValueError:
        return True
    return any(low <= port <= high for port in ports)


def _options(words: Sequence[str]) -> Iterator[Tuple[str, List[str]]]:
    """Each option (`! ` in front where it is turned round) with what follows it."""
    option, negated = "", ""
    values: List[str] = []
    for word in words:
        if word == "!":
            negated = "! "
        elif word.startswith("-"):
            if option:
                yield option, values
            option, values, negated = negated + word, [], ""
        else:
            values.append(word)
    if option:
        yield option, values


def _value(option: str, text: str) -> str:
    if option in ("--ctstate", "--state"):
        return ",".join(sorted(text.split(",")))
    if option in ("-s", "-d"):
        try:
            return str(ipaddress.ip_network(text, strict=False))
        except ValueError:
            return text
    return text
