"""Ports: taken twice, outside their range, reserved; ranges that overlap (P6, P10, D1-D3, D8-D10, D15)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

from plan import catalog
from plan.checks.free import (
    LOWEST_UNPRIVILEGED,
    FreePorts,
    allowed_range,
    consul_ports,
    reserved,
    reserved_for,
    somebody_elses,
    sub_range,
)
from plan.models import CONNECTIONS_OWN, PAIRED, EnvironmentPlan, Listener, pair_of
from plan.problems import Notice, Problem
from plan.semantic import PortRange

ACME, EDGE_PORT = "edge.acme_thumbprint", "edge.port"


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """Every port that can't be held."""
    listeners = tuple(plan.listeners())
    free = FreePorts(plan, listeners)
    clashes = list(_clashes(listeners))
    found = [
        *_taken_twice(plan, [clash for clash in clashes if not clash[0].paired], free),
        *_outside_range(plan, free),
        *_reserved(plan, free),
        *_debuggers(plan, free),
    ]
    yield from found
    # What follows from a port that has to be another one anyway isn't told beside it.
    told = {problem.key for problem in found}
    follows = (
        *_taken_twice(plan, [clash for clash in clashes if clash[0].paired], free),
        *_no_pair(plan, free),
        *_reserved_by_the_edge(plan, listeners, free),
    )
    yield from (problem for problem in follows if problem.key not in told)


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
            # A single port in a range is no overlap of ranges: whoever takes it is told so.
            if other.first != other.last and one.overlaps(other):
                yield Notice(key, f"{one} of {owner} overlaps {other} of {other_owner}; only ports may not (D15)")
    yield from _sub_ranges(plan)
    if any(existing.name == catalog.CONSUL and existing.local for existing in plan.existing):
        for service in plan.services:
            if service.port == catalog.CONSUL_NEWER:
                yield Notice(
                    f"{service.key}.port",
                    f"newer versions of Consul take {service.port} (gRPC TLS); "
                    "where one runs, set `ports { grpc_tls = -1 }` in Consul's configuration (D8)",
                )


Clash = tuple[Listener, str]
"""Who has to move, and who else is there."""


def _clashes(listeners: Iterable[Listener]) -> Iterator[Clash]:
    """Whoever can move has to: ours before others', the later before the first."""
    holders: dict[int, list[Listener]] = defaultdict(list)
    for listener in listeners:
        holders[listener.port].append(listener)
    for held in holders.values():
        # Two pairs are one only where two ports are: those are told.
        if len(held) < 2 or all(listener.paired for listener in held):
            continue
        movable = [listener for listener in held if listener.ours] or held
        stays = next((listener for listener in held if not listener.ours), held[0])
        owners = sorted({listener.owner for listener in held})
        for listener in movable:
            if listener is not stays:
                yield listener, _few(owner for owner in owners if owner != listener.owner) or listener.owner


def _taken_twice(plan: EnvironmentPlan, clashes: Iterable[Clash], free: FreePorts) -> Iterator[Problem]:
    services = {f"{service.key}.port": service for service in plan.placed}
    debuggers = {f"{service.key}.debug_port": service for service in plan.services if service.debug_port is not None}
    for listener, others in clashes:
        if listener.key in services:
            right = free.instead_of(services[listener.key])
        elif listener.key in debuggers:
            right = free.for_debugger(debuggers[listener.key])
        else:
            right = _instead(listener, free)
        yield Problem(listener.key, f"{_told(listener)} is taken on {plan.host.address} by {others}", right)


def _told(listener: Listener) -> str:
    """A port, and why it is asked for where the stack file doesn't say so."""
    return f"{listener.port} (twice the port, on which the edge finds it)" if listener.paired else str(listener.port)


def _instead(listener: Listener, free: FreePorts) -> str:
    """A port for what has no range of its own."""
    if listener.key == ACME:
        return f"drop it, or free {listener.port}: ACME asks there and nowhere else"
    return free.for_edge() if listener.key == EDGE_PORT else free.beside(listener.port)


def _few(names: Iterable[str]) -> str:
    """The first three; who has as many as that on one port needs no more names to see it."""
    few = list(islice(names, 4))
    return ", ".join(few[:3]) + (", and more" if len(few) > 3 else "")


def _outside_range(plan: EnvironmentPlan, free: FreePorts) -> Iterator[Problem]:
    empty = catalog.KEPT_EMPTY.get(plan.name)
    for service in plan.services:
        allowed = allowed_range(plan, service)
        owner = "group dao" if service.group == "dao" else f"environment {plan.name}"
        if service.port not in allowed:
            wrong = f"{service.port} is outside {allowed}, the range of {owner}"
            yield Problem(f"{service.key}.port", wrong, free.instead_of(service))
        elif empty is not None and service.port in empty:
            yield Problem(f"{service.key}.port", f"{service.port} {_kept_empty(empty)}", free.instead_of(service))
    for edition in plan.editions:
        named = {*catalog.EDITIONS[edition.name].services, catalog.shared_service(edition.name)}
        for member in edition.members:
            allowed = allowed_range(plan, member)
            if member.port and member.name in named and member.port not in allowed:
                wrong = f"{member.port} is outside {allowed}, the range of {member.name}"
                yield Problem(f"{member.key}.port", wrong, free.instead_of(member))


def _kept_empty(empty: PortRange) -> str:
    return f"is in {empty}, which stays empty: what belongs there is reused elsewhere"


def _debuggers(plan: EnvironmentPlan, free: FreePorts) -> Iterator[Problem]:
    """A debugger has no range of its own, but not every port is for it."""
    empty = catalog.KEPT_EMPTY.get(plan.name)
    for service in plan.services:
        port = service.debug_port
        if port is None:
            continue
        if port < LOWEST_UNPRIVILEGED:
            wrong = f"{port} is below {LOWEST_UNPRIVILEGED}, where root alone may listen"
            yield Problem(f"{service.key}.debug_port", wrong, free.for_debugger(service))
        elif empty is not None and port in empty:
            yield Problem(f"{service.key}.debug_port", f"{port} {_kept_empty(empty)}", free.for_debugger(service))


def _reserved(plan: EnvironmentPlan, free: FreePorts) -> Iterator[Problem]:
    listed = {port for existing in plan.existing if existing.local for port in existing.ports}
    consul = {port for port in consul_ports(plan) if port not in listed}
    for service in plan.services:
        for port, key in ((service.port, "port"), (service.debug_port, "debug_port")):
            owner = reserved_for(port, service, consul) if port is not None else None
            if owner is not None:
                right = free.instead_of(service) if key == "port" else free.for_debugger(service)
                yield Problem(f"{service.key}.{key}", f"{port} is reserved for {owner}", right)
    for edition in plan.editions:
        for member in edition.members:
            if member.port in consul:
                wrong = f"{member.port} is reserved for Consul"
                yield Problem(f"{member.key}.port", wrong, free.instead_of(member))


def _no_pair(plan: EnvironmentPlan, free: FreePorts) -> Iterator[Problem]:
    """Ports of which twice as much is none for the edge's side of a service."""
    for service in plan.placed:
        allowed = allowed_range(plan, service)
        if service.behind is not None and service.port not in PAIRED and service.port in allowed:
            first, last = pair_of(service.port)
            high = f"which are above {CONNECTIONS_OWN.first - 1}: connections get these by themselves"
            low = f"which are below {LOWEST_UNPRIVILEGED}, where root alone may listen"
            wrong = (
                f"{service.port} can't be behind the edge: its container is to have twice the port, "
                f"{first} or {last}, {low if service.port < PAIRED.first else high}"
            )
            other = free.instead_of(service) if allowed.overlaps(PAIRED) else f"choose one of {PAIRED}"
            yield Problem(f"{service.key}.port", wrong, f"{other}; or say `updates: recreate`")


def _reserved_by_the_edge(plan: EnvironmentPlan, listeners: tuple[Listener, ...], free: FreePorts) -> Iterator[Problem]:
    """The same as for a service's own port, for those that come with an edge (P6, P10)."""
    listed = {port for existing in plan.existing if existing.local for port in existing.ports}
    consul = {port for port in consul_ports(plan) if port not in listed}
    services = {f"{service.key}.port": service for service in plan.placed}
    empty = catalog.KEPT_EMPTY.get(plan.name)
    for listener in listeners:
        if not (listener.paired or listener.key == EDGE_PORT or listener.key.endswith(".tls")):
            continue
        owner = reserved(listener.port, consul)
        wrong = f"is reserved for {owner}" if owner is not None else None
        if owner is None and empty is not None and listener.port in empty:
            wrong = _kept_empty(empty)
        elif owner is None and not listener.paired:
            whose = somebody_elses(plan, listener.port)
            wrong = f"is in {whose}" if whose is not None else None
        if wrong is not None:
            right = free.instead_of(services[listener.key]) if listener.paired else _instead(listener, free)
            yield Problem(listener.key, f"{_told(listener)} {wrong}", right)


def _sub_ranges(plan: EnvironmentPlan) -> Iterator[Notice]:
    for service in plan.services:
        documented = sub_range(plan, service)
        if documented is not None and service.port in plan.range and service.port not in documented:
            text = f"{service.port} is outside {documented}, the documented sub-range of group {service.group} (P10)"
            yield Notice(f"{service.key}.port", text)
