"""Ports: taken twice, outside their range, reserved; ranges that overlap (P6, P10, D1-D3, D8-D10, D15)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

from plan import catalog
from plan.models import EnvironmentPlan, Listener, ServicePlan
from plan.problems import Notice, Problem
from plan.semantic import PortRange


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """Every port that can't be held."""
    listeners = tuple(plan.listeners())
    free = _Free(plan, listeners)
    yield from _taken_twice(plan, listeners, free)
    yield from _outside_range(plan, free)
    yield from _reserved(plan, free)


def notices(plan: EnvironmentPlan) -> Iterator[Notice]:
    """Ranges that overlap (D1), sub-ranges left (P10), Consul's newer port (D8)."""
    ranges = [("range", "the environment", plan.range)]
    for edition in plan.editions:
        known = catalog.EDITIONS[edition.name]
        for one in sorted({*known.services.values(), known.shared}, key=str):
            ranges.append((f"editions.{edition.name}", f"edition {edition.name}", one))
    for index, (key, owner, one) in enumerate(ranges):
        for _, other_owner, other in ranges[index + 1 :]:
            if one.overlaps(other) and owner != other_owner:
                yield Notice(key, f"{one} of {owner} overlaps {other} of {other_owner}; only ports may not (D1)")
        for other, other_owner in catalog.RESERVED:
            if key != "range" and one.overlaps(other):
                yield Notice(key, f"{one} of {owner} overlaps {other} of {other_owner}; only ports may not (D15)")
    yield from _sub_ranges(plan)
    if any(existing.name == catalog.CONSUL for existing in plan.existing):
        for service in plan.services:
            if service.port == catalog.CONSUL_NEWER:
                yield Notice(
                    f"{service.key}.port",
                    f"newer versions of Consul take {service.port} (gRPC TLS); "
                    "where one runs, set `ports { grpc_tls = -1 }` in Consul's configuration (D8)",
                )


def allowed_range(plan: EnvironmentPlan, service: ServicePlan) -> PortRange:
    """Where a service may listen: its edition's range (E2), 9500-9599 for group dao (D10), else the environment's."""
    if service.edition is not None:
        known = catalog.EDITIONS[service.edition]
        return known.services.get(service.name, known.shared)
    return catalog.DAO_RANGE if service.group == "dao" else plan.range


def _sub_range(plan: EnvironmentPlan, service: ServicePlan) -> PortRange | None:
    for group, (first, last) in catalog.SUB_RANGES.get(plan.name, {}).items():
        if group == service.group:
            return PortRange(plan.range.first + first, plan.range.first + last)
    return None


class _Free:
    """Ports that nobody holds: the values that would be right."""

    def __init__(self, plan: EnvironmentPlan, listeners: Iterable[Listener]) -> None:
        self._plan = plan
        self._given: set[int] = {listener.port for listener in listeners}
        self._given.update(_consul_ports(plan))
        self._offers: dict[str, str] = {}
        self._walks: dict[tuple[PortRange, PortRange], Iterator[int]] = {}

    def instead_of(self, service: ServicePlan) -> str:
        """A free port for the service, whatever is wrong with its own; each is offered to one service only."""
        if service.key not in self._offers:
            self._offers[service.key] = self._offer(service)
        return self._offers[service.key]

    def _offer(self, service: ServicePlan) -> str:
        """In its group's sub-range first."""
        whole = allowed_range(self._plan, service)
        documented = None if service.edition else _sub_range(self._plan, service)
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
            reserved = None if service.edition else _reserved_for(port, service, set())
            if port not in self._given and reserved is None and not (empty and port in empty):
                self._given.add(port)
                yield port


def _taken_twice(plan: EnvironmentPlan, listeners: Iterable[Listener], free: _Free) -> Iterator[Problem]:
    holders: dict[int, list[Listener]] = defaultdict(list)
    for listener in listeners:
        holders[listener.port].append(listener)
    members = [member for edition in plan.editions for member in edition.members]
    services = {f"{service.key}.port": service for service in (*plan.services, *members)}
    for port, held in holders.items():
        if len(held) < 2:
            continue
        # Whoever can move is told to: ours before others', the later before the first.
        movable = [listener for listener in held if listener.ours] or held
        stays = next((listener for listener in held if not listener.ours), held[0])
        owners = sorted({listener.owner for listener in held})
        for listener in movable:
            if listener is stays:
                continue
            service = services.get(listener.key)
            others = _few(owner for owner in owners if owner != listener.owner) or listener.owner
            right = free.instead_of(service) if service else "give it a port of its own"
            yield Problem(listener.key, f"{port} is taken on {plan.host.address} by {others}", right)


def _few(names: Iterable[str]) -> str:
    """The first three; who has as many as that on one port needs no more names to see it."""
    few = list(islice(names, 4))
    return ", ".join(few[:3]) + (", and more" if len(few) > 3 else "")


def _outside_range(plan: EnvironmentPlan, free: _Free) -> Iterator[Problem]:
    empty = catalog.KEPT_EMPTY.get(plan.name)
    for service in plan.services:
        allowed = allowed_range(plan, service)
        owner = "group dao" if service.group == "dao" else f"environment {plan.name}"
        if service.port not in allowed:
            wrong = f"{service.port} is outside {allowed}, the range of {owner}"
            yield Problem(f"{service.key}.port", wrong, free.instead_of(service))
        elif empty is not None and service.port in empty:
            wrong = f"{service.port} is in {empty}, which stays empty: what belongs there is reused elsewhere"
            yield Problem(f"{service.key}.port", wrong, free.instead_of(service))


def _consul_ports(plan: EnvironmentPlan) -> tuple[int, ...]:
    runs = any(existing.name == catalog.CONSUL for existing in plan.existing)
    return catalog.CONSUL_DEFAULTS if runs else ()


def _reserved(plan: EnvironmentPlan, free: _Free) -> Iterator[Problem]:
    listed = {port for existing in plan.existing for port in existing.ports}
    consul = {port for port in _consul_ports(plan) if port not in listed}
    for service in plan.services:
        for port, key in ((service.port, "port"), (service.debug_port, "debug_port")):
            owner = _reserved_for(port, service, consul) if port is not None else None
            if owner is not None:
                right = free.instead_of(service) if key == "port" else "choose one outside the reserved ranges"
                yield Problem(f"{service.key}.{key}", f"{port} is reserved for {owner}", right)
    for edition in plan.editions:
        for member in edition.members:
            if member.port in consul:
                wrong = f"{member.port} is reserved for Consul"
                yield Problem(f"{member.key}.port", wrong, free.instead_of(member))


def _reserved_for(port: int, service: ServicePlan, consul: set[int]) -> str | None:
    if port in consul:
        return "Consul"
    for reserved, owner in catalog.RESERVED:
        if port in reserved and not (service.group == "dao" and reserved == catalog.DAO_RANGE):
            return owner
    return None


def _sub_ranges(plan: EnvironmentPlan) -> Iterator[Notice]:
    for service in plan.services:
        documented = _sub_range(plan, service)
        if documented is not None and service.port in plan.range and service.port not in documented:
            text = f"{service.port} is outside {documented}, the documented sub-range of group {service.group} (P10)"
            yield Notice(f"{service.key}.port", text)
