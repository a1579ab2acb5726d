"""Who holds a port that a container of ours wants (P6, D18)."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Set

from hostctl import compose_files, ports
from hostctl.compose_aside import ASIDE, both
from hostctl.compose_containers import service_of
from hostctl.compose_files import STACK
from hostctl.forms import Behind, ServiceDefinition
from hostctl.identity import program_of


class Known(NamedTuple):
    """What of ours is no stranger."""

    stack: str
    edge_pids: Set[int]
    """The edge's processes: it has the ports of those behind it, and lets go of one that leaves it."""


def strangers(
    wanted: Mapping[str, ServiceDefinition],
    leaving: Sequence[str],
    containers: Sequence[Mapping[str, Any]],
    known: Known,
    file: str,
) -> Dict[str, List[str]]:
    """Sentences, by service, about who holds one of its ports: a container (as the API lists them), or a process."""
    numbers = {port for definition in wanted.values() for port in _numbers(definition)}
    listeners = [one for one in ports.listeners(numbers) if one.pid not in known.edge_pids or not one.pid]
    published = _published(containers, known.stack)
    moving = {*wanted, *leaving}
    foreign = {_name(entry) for entry in containers if STACK not in entry["Labels"]}
    found: Dict[str, List[str]] = {}
    for name, definition in wanted.items():
        block = compose_files.text_of(definition["parts"], file)
        # One of exactly this name is set aside before the service starts (D18).
        aside = name if compose_files.has_documented_name(block, name) else None
        if aside is not None and {aside, aside + ASIDE} <= foreign:
            # Told before the edge takes its ports for all of them.
            found[name] = [both(aside)]
            continue
        for port, bind in _numbers(definition).items():
            holders = [one for one in published if one.port == port]
            others = [one for one in holders if one.service not in moving and (one.labelled or one.container != aside)]
            said = [ports.sentence(port, one.name, ours=bool(one.service)) for one in others]
            if not holders:
                near = [one for one in listeners if one.port == port and ports.collide(bind, one.address)]
                pair = () if definition["edge"] is None else definition["edge"]["ports"]
                near = [one for one in near if port not in pair or not _is_dockers(one)]
                said = [ports.sentence(port, _whose(one)) for one in near]
            found.setdefault(name, []).extend(said[:1])
    return {name: sentences for name, sentences in found.items() if sentences}


def held_for_nobody(behind: Behind, containers: Sequence[Mapping[str, Any]]) -> List[int]:
    """Which of a service's two ports Docker itself holds, although no container publishes it.

    Docker 20.10 does so after a loss of power in the midst of a container's start, until it is restarted: ending its
    proxy gives nothing back. The service still has the other port.
    """
    published = {one.port for one in _published(containers, "")}
    free = set(behind["ports"]) - published
    return sorted({one.port for one in ports.listeners(free) if _is_dockers(one)}) if free else []


def _is_dockers(listener: ports.Listener) -> bool:
    return bool(listener.pid) and "docker-proxy" in program_of(listener.pid)


def _numbers(definition: ServiceDefinition) -> Dict[int, str]:
    """Each port that it wants, and on which address: behind the edge the documented one is wanted by the edge."""
    behind, bind = definition["edge"], definition["launch"]["bind"]
    numbers = dict.fromkeys(definition["ports"], bind)
    if behind is not None:
        numbers = dict.fromkeys(definition["ports"], "0.0.0.0")  # noqa: S104 # what the edge may bind
        numbers.update(dict.fromkeys(behind["ports"], behind["address"]))
    return numbers


class _Published(NamedTuple):
    """A TCP port that a container publishes, and whose container that is."""

    port: int
    container: str
    service: str
    """The service of this stack that it serves; empty for other people's."""
    labelled: bool
    """Whether it belongs to a stack of this program's, this one or another: that is never set aside."""

    @property
    def name(self) -> str:
        """For people."""
        return self.service or "the container " + self.container


def _published(entries: Sequence[Mapping[str, Any]], stack: str) -> List[_Published]:
    found: List[_Published] = []
    for entry in entries:
        labels: Dict[str, str] = entry["Labels"]
        numbers = {one["PublicPort"] for one in entry["Ports"] if "PublicPort" in one and one["Type"] == "tcp"}
        found += [
            _Published(port, _name(entry), service_of(labels, stack), STACK in labels) for port in sorted(numbers)
        ]
    return found


def _name(entry: Mapping[str, Any]) -> str:
    names: List[str] = entry["Names"] or [entry["Id"][:12]]
    return names[0].lstrip("/")


def _whose(listener: ports.Listener) -> str:
    return "pid %d (%s)" % (listener.pid, program_of(listener.pid)) if listener.pid else "another process"
