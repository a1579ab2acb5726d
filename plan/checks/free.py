"""Who may listen where, and the ports that nobody holds: the values that would be right (P6, P10, D8, D10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from plan import catalog
from plan.models import CONNECTIONS_OWN, PAIRED, EnvironmentPlan, Listener, ServicePlan, pair_of
from plan.semantic import HIGHEST_PORT, PortRange

LOWEST_UNPRIVILEGED = 1024
DEBUGPY = 5678
"""Where debugpy listens unless told otherwise."""


def allowed_range(plan: EnvironmentPlan, service: ServicePlan) -> PortRange:
    """Where a service may listen: its edition's range (E2), 9500-9599 for group dao (D10), else the environment's."""
    if service.edition is not None:
        known = catalog.EDITIONS[service.edition]
        return known.services.get(service.name, known.shared)
    return catalog.DAO_RANGE if service.group == "dao" else plan.range


def sub_range(plan: EnvironmentPlan, service: ServicePlan) -> PortRange | None:
    """The documented sub-range of a service's group (P10)."""
    for group, (first, last) in catalog.SUB_RANGES.get(plan.name, {}).items():
        if group == service.group:
            return PortRange(plan.range.first + first, plan.range.first + last)
    return None


def consul_ports(plan: EnvironmentPlan) -> tuple[int, ...]:
    """What Consul takes unlisted, where it runs (D8)."""
    runs = any(existing.name == catalog.CONSUL and existing.local for existing in plan.existing)
    return catalog.CONSUL_DEFAULTS if runs else ()


def reserved_for(port: int, service: ServicePlan, consul: set[int]) -> str | None:
    """Who has a port that this service can't have (P6)."""
    return None if service.group == "dao" and port in catalog.DAO_RANGE else reserved(port, consul)


def reserved(port: int, consul: set[int]) -> str | None:
    """Who has a port, whoever asks."""
    if port in consul:
        return "Consul"
    return next((owner for ports, owner in catalog.RESERVED if port in ports), None)


def somebody_elses(plan: EnvironmentPlan, port: int) -> str | None:
    """Whose range a port beside the services' is in, when it can't be there: the edge's own, or one with TLS."""
    if port in CONNECTIONS_OWN:
        return f"{CONNECTIONS_OWN}, from which connections get theirs by themselves"
    if port in plan.range:
        return None
    ranges = [(one, f"environment {name}") for name, one in catalog.RANGES.items() if name != plan.name]
    for name, known in catalog.EDITIONS.items():
        ranges += [(one, f"edition {name}") for one in (*known.services.values(), known.shared)]
    return next((f"{one}, the range of {owner}" for one, owner in ranges if port in one), None)


class FreePorts:
    """Ports that nobody holds: the values that would be right."""

    def __init__(self, plan: EnvironmentPlan, listeners: Iterable[Listener]) -> None:
        self._plan = plan
        self._given: set[int] = {listener.port for listener in listeners}
        self._given.update(consul_ports(plan))
        self._offers: dict[str, str] = {}
        self._next: dict[int, int] = {}
        """Port that is passed by -> one behind it: no offer looks twice at what others passed by."""
        self._walks: dict[tuple[PortRange, PortRange], Iterator[int]] = {}

    def instead_of(self, service: ServicePlan) -> str:
        """A free port for the service, whatever is wrong with its own; each is offered to one service only."""
        if service.key not in self._offers:
            self._offers[service.key] = self._offer(service)
        return self._offers[service.key]

    def for_debugger(self, service: ServicePlan) -> str:
        """A free port for its debugger, whatever is wrong with the one it has."""
        key = f"{service.key}.debug_port"
        if key not in self._offers:
            self._offers[key] = self.beside(DEBUGPY - 1)
        return self._offers[key]

    def for_edge(self) -> str:
        """A free port of the edge's own: in the sub-range of its group first (P10)."""
        key, whole = "edge.port", self._plan.range
        if key not in self._offers:
            first, last = catalog.SUB_RANGES["local"][catalog.EDGE_GROUP]
            documented = range(min(whole.first + last, whole.last), whole.first + first - 1, -1)
            candidates = (*documented, *range(whole.first + 1, whole.last + 1))
            empty = catalog.KEPT_EMPTY.get(self._plan.name)
            found = (
                port
                for port in candidates
                if self._free(port) and not (empty and port in empty) and port not in CONNECTIONS_OWN
            )
            port = next(found, None)
            self._given.update(() if port is None else (port,))
            self._offers[key] = self.beside(whole.last) if port is None else f"{port} is free"
        return self._offers[key]

    def beside(self, port: int) -> str:
        """The next free port for what has no range of its own; each is offered once."""
        found = self._behind(port)
        if found > HIGHEST_PORT:
            found = self._behind(LOWEST_UNPRIVILEGED - 1)
        if found > HIGHEST_PORT:
            return "give it a port of its own"
        self._given.add(found)
        return f"{found} is free"

    def _behind(self, port: int) -> int:
        passed: list[int] = []
        here = port + 1
        while here <= HIGHEST_PORT and (here in self._next or self._spoken_for(here)):
            passed.append(here)
            here = self._next.get(here, here + 1)
        self._next.update(dict.fromkeys(passed, here))
        return here

    def _spoken_for(self, port: int) -> bool:
        empty = catalog.KEPT_EMPTY.get(self._plan.name)
        taken = port in self._given or port in self._plan.range or reserved(port, set()) is not None
        return taken or (empty is not None and port in empty) or somebody_elses(self._plan, port) is not None

    def _offer(self, service: ServicePlan) -> str:
        """In its group's sub-range first."""
        whole = allowed_range(self._plan, service)
        documented = None if service.edition else sub_range(self._plan, service)
        for candidates in (documented, whole):
            if candidates is None:
                continue
            # One walk through a range for all who ask: what it passed by isn't free later either.
            walk = self._walks.setdefault((candidates, whole), self._walk(candidates, service))
            port = next(walk, None)
            if port is not None:
                return f"{port} is free"
        return f"no port of {whole} is free"

    def _walk(self, candidates: PortRange, service: ServicePlan) -> Iterator[int]:
        whole = allowed_range(self._plan, service)
        empty = catalog.KEPT_EMPTY.get(self._plan.name)
        # The documents leave an environment's first port alone; the editions' first ports are theirs (D4).
        first = whole.first if service.edition else whole.first + 1
        for port in range(max(candidates.first, first), min(candidates.last, whole.last) + 1):
            # An edition owns its range, whatever else the documents reserve there (D15).
            owner = None if service.edition else reserved_for(port, service, set())
            behind = pair_of(port) if service.behind is not None else ()
            if behind and (port not in PAIRED or any(not self._free(one) for one in behind)):
                continue
            if port not in self._given and owner is None and not (empty and port in empty):
                self._given.update((port, *behind))
                yield port

    def _free(self, port: int) -> bool:
        return port not in self._given and reserved(port, set()) is None
