"""Whether the host itself lets connections in to the edge, whose ports are its own.

What Docker publishes is forwarded past the chain INPUT, so a host that closes INPUT by default (ufw, firewalld) never
minded services that publish their own ports. It is told what to allow; nobody opens anything for it.
"""

from __future__ import annotations

import ipaddress
import re
import shutil
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from hostctl import firewall_rules, firewall_table, iptables, system_command
from hostctl.console import say
from hostctl.context import Context
from hostctl.errors import HostctlError
from hostctl.firewall_meaning import is_about_others, meaning
from hostctl.firewall_table import Table
from hostctl.forms import ComposeSpec, HostDefinition, ServiceDefinition

IPTABLES, UFW, FIREWALLD, NFT = "iptables", "ufw", "firewalld", "nft"
EVERYBODY = "0.0.0.0/0"
_AT_ONCE = 15
"""How many ports one rule of iptables may name."""
_POLICY = re.compile(r"^:INPUT (\w+) ", re.MULTILINE)
_INSIDE = re.compile(r"br-.*|docker.*")
_NFT_TABLE = re.compile(r"\s*table (\S+ \S+) \{")
_NFT_DROP = re.compile(r"\s*type filter hook input .*policy drop;")
_ENDS = {"DROP": True, "REJECT": True, "ACCEPT": False}


class Closed(NamedTuple):
    """A host that lets in only what it was told to."""

    by: str
    ports: Dict[Tuple[str, ...], List[int]]
    """By the networks that are to reach them: what no rule lets in."""
    network: str
    """The services' network where no rule lets its containers ask the host; else empty."""
    sure: bool
    """Whether its rules could be read; else it may be told already."""


def warning(context: Context, definition: ServiceDefinition) -> str:
    """What has to be allowed on this host for the edge's sake, said and given back; "" for others and where all is."""
    host = context.host()["definition"]
    spec = host["compose"]
    if definition["proxy"] is None or spec is None:
        return ""
    try:
        found = look(spec, wanted(host, set(context.databases())))
    except HostctlError as error:
        return _told("whether this host lets anybody in to the edge can't be looked at: %s" % error)
    return _told(text(found, spec)) if found is not None and (found.ports or found.network) else ""


def wanted(host: HostDefinition, others: Set[str]) -> Dict[int, Tuple[str, ...]]:
    """Each port that somebody outside is to reach through the edge, and from which networks.

    `others` own ports that aren't the edge's: databases.
    """
    firewall = host["firewall"]
    found: Dict[int, Tuple[str, ...]] = {}
    for entry in firewall["ports"] if firewall else []:
        networks = firewall_rules.open_to(entry, 4)
        if networks and entry["owner"] not in others:
            found[entry["port"]] = (EVERYBODY,) if firewall_rules.is_open_to_all(entry, 4) else tuple(networks)
    return found


def look(spec: ComposeSpec, ports: Mapping[int, Tuple[str, ...]]) -> Optional[Closed]:
    """What this host closes by default and no rule of its opens; None where it closes nothing."""
    if shutil.which("firewall-cmd", path=system_command.SYSTEM_PATH) and _run("firewall-cmd", "--state")[0] == 0:
        open_ports = _run("firewall-cmd", "--list-ports")[1].split()
        docker = "docker" in _run("firewall-cmd", "--get-active-zones")[1].split()
        left = {port: whom for port, whom in ports.items() if not any(_lists(one, port) for one in open_ports)}
        return Closed(FIREWALLD, _grouped(left), "" if docker else spec["subnet"], True)
    lacking = iptables.missing([iptables.IPV4])
    if lacking:
        raise HostctlError(lacking)
    saved = iptables.saved(iptables.IPV4)
    table = firewall_table.parse(saved)
    if _closes(table, "INPUT", _POLICY.search(saved)):
        by = UFW if any(chain.startswith("ufw-") for chain in table) else IPTABLES
        rules = list(_accepting(table))
        left = {port: tuple(one for one in whom if not _accepts(rules, port, one)) for port, whom in ports.items()}
        return Closed(by, _grouped(left), "" if _lets_containers_in(table, spec) else spec["subnet"], True)
    other = _dropping_table()
    return Closed("%s %s" % (NFT, other), _grouped(ports), spec["subnet"], False) if other else None


def text(found: Closed, spec: ComposeSpec) -> str:
    """For people: what is closed, and the commands that open it."""
    commands = list(_commands(found, spec))
    unless = "" if found.sure else " unless its rules do already (they are not read here)"
    return (
        "this host closes what it was not told to let in (%s), and the edge's ports are its own: allow them%s: %s"
        % (
            found.by,
            unless,
            "; ".join(commands),
        )
    )


def _commands(found: Closed, spec: ComposeSpec) -> Iterator[str]:
    gateway = spec["gateway"]
    for networks, ports in found.ports.items():
        for at in range(0, len(ports), _AT_ONCE):
            some = [str(port) for port in ports[at : at + _AT_ONCE]]
            for network in networks:
                yield _allow(found.by, "" if network == EVERYBODY else network, some)
    if found.network:
        inside = {
            UFW: "`ufw allow from %s to %s`" % (found.network, gateway),
            FIREWALLD: "`firewall-cmd --permanent --zone=trusted --add-source=%s`" % found.network,
            IPTABLES: "`iptables -I INPUT -s %s -d %s -j ACCEPT`" % (found.network, gateway),
        }
        yield "%s, by which services call each other" % inside.get(
            found.by, "all from %s to %s" % (found.network, gateway)
        )
    if found.by == FIREWALLD:
        yield "then `firewall-cmd --reload`"
    elif found.by == IPTABLES:
        yield "and where your rules are kept"


def _allow(by: str, network: str, ports: Sequence[str]) -> str:
    listed = ",".join(ports)
    if by == UFW:
        return "`ufw allow %s`" % (
            "proto tcp from %s to any port %s" % (network, listed) if network else listed + "/tcp"
        )
    if by == FIREWALLD and network:
        rule = "rule family=ipv4 source address=%s port port=%s protocol=tcp accept"
        return "`firewall-cmd --permanent %s`" % " ".join(
            "--add-rich-rule='%s'" % (rule % (network, port)) for port in ports
        )
    if by == FIREWALLD:
        return "`firewall-cmd --permanent %s`" % " ".join("--add-port=%s/tcp" % port for port in ports)
    if by == IPTABLES:
        source = "-s %s " % network if network else ""
        return "`iptables -I INPUT %s-p tcp -m multiport --dports %s -j ACCEPT`" % (source, listed)
    return "TCP ports %s%s" % (listed, " from " + network if network else "")


def _closes(table: Table, chain: str, policy: "Optional[re.Match[str]]") -> bool:
    """Whether what no rule of a chain is about ends at its end."""
    end = _end(table, chain, 0)
    return end if end is not None else policy is not None and policy.group(1) != "ACCEPT"


def _end(table: Table, chain: str, depth: int) -> Optional[bool]:
    """Whether a rule for everybody closes (True) or opens (False); None where none does either."""
    for rule in table.get(chain, []) if depth < len(table) else []:
        found = meaning(rule)
        if found.target == "RETURN":
            return None  # those that go back, whoever they are, are not judged here
        if _own(found.matches):
            continue
        end = _ENDS.get(found.target, _end(table, found.target, depth + 1))
        if end is not None:
            return end
    return None


def _own(matches: "frozenset[Tuple[str, str]]") -> List[Tuple[str, str]]:
    """What limits a rule; not what its target says of itself, nor a comment."""
    return [one for one in matches if one[0] != "--comment" and " " not in one[0].lstrip("! ")]


def _accepting(table: Table, chain: str = "INPUT", before: Tuple[str, ...] = ()) -> Iterator[Dict[str, str]]:
    """What each rule that lets something in is about, in this chain and those that it leads to."""
    for rule in table.get(chain, []):
        found = meaning(rule)
        if found.target == "ACCEPT":
            yield dict(found.matches)
        elif found.target in table and found.target not in (chain, *before):
            yield from _accepting(table, found.target, (chain, *before))


def _accepts(rules: Sequence[Dict[str, str]], port: int, network: str) -> bool:
    """Whether a rule lets all of a network in to a port."""
    wanted = ipaddress.IPv4Network(network)
    return any(not is_about_others(one, [port]) and wanted.subnet_of(_source(one)) for one in rules)


def _source(matches: Mapping[str, str]) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(matches.get("-s", EVERYBODY))


def _lets_containers_in(table: Table, spec: ComposeSpec) -> bool:
    """Whether a rule is about the services' network, or Docker's bridges."""
    network = ipaddress.IPv4Network(spec["subnet"])
    for matches in _accepting(table):
        source = _source(matches)
        inside = source.prefixlen > 0 and network.subnet_of(source)
        if inside or _INSIDE.fullmatch(matches.get("-i", "")):
            return True
    return False


def _dropping_table() -> str:
    """A table of nftables beside iptables' own whose input chain drops by default; "" where there is none."""
    if not shutil.which("nft", path=system_command.SYSTEM_PATH):
        return ""
    code, said = _run("nft", "list", "chains")
    table = ""
    for line in said.splitlines() if code == 0 else []:
        named = _NFT_TABLE.match(line)
        table = named.group(1) if named else table
        if _NFT_DROP.match(line) and table not in ("ip filter", "ip6 filter"):
            return table
    return ""


def _grouped(ports: Mapping[int, Tuple[str, ...]]) -> Dict[Tuple[str, ...], List[int]]:
    """Networks -> the ports that all of them are to reach."""
    found: Dict[Tuple[str, ...], List[int]] = {}
    for port in sorted(ports):
        if ports[port]:
            found.setdefault(ports[port], []).append(port)
    return found


def _lists(listed: str, port: int) -> bool:
    """Whether firewalld's `8000-9000/tcp` or `8411/tcp` is about a port."""
    numbers, _, protocol = listed.partition("/")
    first, _, last = numbers.partition("-")
    return protocol == "tcp" and first.isdigit() and int(first) <= port <= int(last or first)


def _run(*command: str) -> Tuple[int, str]:
    return system_command.run(command)


def _told(words: str) -> str:
    say("warning: " + words)
    return words
