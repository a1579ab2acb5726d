"""Random stack files: mostly sound, often not."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from plan.semantic import SECRET
from tests.plan.stacks import Raw

MB = 10**6
NAMES = [f"svc-{letter}" for letter in "abcdefgh"]
GROUPS = ["core", "infrastructure", "storage", "security", "dao"]
EDITION_PORTS = {
    "future": {1: (8000, 8099), 2: (8000, 8099), 3: (8000, 8099), "shared": (8100, 8199)},
    "dao": {1: (8200, 8299), 2: (8200, 8299), 3: (8300, 8399), "shared": (8400, 8499)},
    "blockchain": {1: (9000, 9099), 2: (9000, 9099), 3: (9100, 9199), "shared": (9200, 9299)},
}


def amounts(most_memory: int) -> dict[str, st.SearchStrategy[Any]]:
    """What something takes; now and then more than any host has."""
    return {
        "cpus": st.sampled_from([0.05, 0.1, 0.3, 2]),
        "memory": st.integers(7, most_memory).map(lambda amount: f"{amount}MB"),
        "disk": st.integers(1, 3000).map(lambda amount: f"{amount}MB"),
    }


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A map with some of these keys."""
    return st.fixed_dictionaries({}, optional=fields)


class Ports:
    """Free ports, each given once; where the file is to have faults, now and then one that is no good."""

    def __init__(self, draw: st.DrawFn, first: int, faulty: bool) -> None:
        self._draw, self._first, self._faulty = draw, first, faulty
        self._next: dict[int, int] = {}

    def one(self, first: int | None = None) -> int:
        base = self._first if first is None else first
        if self._faulty and self._draw(st.integers(0, 5)) == 0:
            return self._draw(st.sampled_from([8500, 9550, 8250, 3306, 80, base, base + 1, base + 2, base + 150]))
        self._next[base] = self._next.get(base, base) + 1
        return self._next[base]


def services(draw: st.DrawFn, ports: Ports, databases: list[str], faulty: bool, debug: bool) -> dict[str, Any]:
    """Services of one's own that need each other and databases, and sometimes what nobody knows."""
    names = draw(st.lists(st.sampled_from(NAMES), max_size=5, unique=True))
    made: dict[str, Any] = {}
    for index, name in enumerate(names):
        # Those before it: no circle. With faults any of them, itself too, and one that isn't there.
        needable = [*names, "svc-nobody"] if faulty else names[:index]
        group = draw(st.sampled_from([None, *GROUPS]))
        service = draw(some(**amounts(300), public=st.booleans()))
        service["port"] = ports.one(9500 if group == "dao" else None)
        service["own"] = not faulty or draw(st.integers(0, 9)) > 0
        if debug and draw(st.integers(0, 4)) == 0:
            service["debug_port"] = ports.one(5678)
        if group is not None:
            service["group"] = group
        if needable:
            service["needs"] = draw(st.lists(st.sampled_from(needable), max_size=2))
        stores = [*databases, "mysql"] if faulty else databases
        if stores:
            service["databases"] = draw(st.lists(st.sampled_from(stores), max_size=2, unique=True))
        made[name] = service
    return made


def databases(draw: st.DrawFn, ports: Ports, local: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(["mysql", "redis", "neo4j", "ledger"]), max_size=3, unique=True)):
        one = draw(some(**amounts(400), host=st.sampled_from(["10.0.0.9", "db.example"])))
        one["port"] = ports.one(draw(st.sampled_from([3305, 9516, 20000])))
        one["kind"] = draw(st.sampled_from(["mysql", "redis"]))
        one["when_missing"] = draw(st.sampled_from(["embedded", "fail"] if local else ["fail"]))
        made[name] = one
    return made


def existing(draw: st.DrawFn, ports: Ports) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(["consul", "other", "more"]), max_size=2, unique=True)):
        count = draw(st.integers(1, 2))
        made[name] = draw(some(**amounts(300))) | {"ports": [ports.one(21000) for _ in range(count)]}
    return made


def editions(draw: st.DrawFn, faulty: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for edition in draw(st.lists(st.sampled_from(sorted(EDITION_PORTS)), max_size=2, unique=True)):
        members: dict[str, Any] = {}
        for part, (first, last) in EDITION_PORTS[edition].items():
            name = f"{edition}-shared-service" if part == "shared" else f"{edition}-service-{part}"
            spot = first + 40 + (part if isinstance(part, int) else 9)
            port = draw(st.integers(first, last)) if faulty else spot
            members[name] = draw(some(memory=st.sampled_from(["50MB", "200MB"]))) | {"port": port}
        made[edition] = {"services": members}
    return made


def updates(draw: st.DrawFn, made: Raw, ports: Ports, faulty: bool) -> None:
    """How a server's services are updated: mostly behind an edge, sometimes with TLS; with faults what can't be."""
    if draw(st.integers(0, 3)) == 0:
        made["updates"] = "recreate"
    if "updates" in made and not faulty:
        return
    edge = draw(some(memory=st.sampled_from(["24MB", "300MB"]), acme_thumbprint=st.just("a" * 43)))
    if draw(st.booleans()):
        # Now and then where a pair is.
        edge["port"] = draw(st.sampled_from([2 * ports.one(), ports.one(22000)])) if faulty else ports.one(22000)
    if draw(st.integers(0, 4)) > 0 or not faulty:
        edge["certificates"] = "/etc/tls"
    if edge and draw(st.booleans()):
        made["edge"] = edge
    for service in made["services"].values():
        if (faulty or (service.get("public") and "certificates" in made.get("edge", {}))) and draw(st.booleans()):
            service["tls"] = draw(st.sampled_from([443, service["port"]])) if faulty else ports.one(23000)
        if draw(st.integers(0, 4)) == 0:
            service["settle"] = draw(st.sampled_from([0, 0.5, 30]))


@st.composite
def stack_files(draw: st.DrawFn) -> Raw:
    """A whole stack file of one's own services: half of them without faults, but for what doesn't fit its host."""
    faulty = draw(st.booleans())
    local = draw(st.booleans())
    first = draw(st.sampled_from([8300, 8400, 8600, 12000]))
    ports = Ports(draw, first, faulty)
    stores = databases(draw, ports, local)
    mode = draw(st.sampled_from(["development", "integration"]))
    made: Raw = {
        "mode": mode,
        "chains": ["simulation"],
        "runtime": draw(st.sampled_from(["process", "docker"])) if local else "compose",
        "range": f"{first}-{first + 99}",
        "monthly_cost_yuan": draw(st.integers(0, 500)),
        "host": {
            "address": "127.0.0.1" if local else "192.0.2.7",
            "cpus": draw(st.sampled_from([2, 4, 8])),
            "memory": draw(st.sampled_from(["1GB", "2GB", "8GB"])),
            "disk": draw(st.sampled_from(["10GB", "100GB"])),
            "reserve": {"memory": "200MB"},
        },
        "services": services(draw, ports, list(stores), faulty, mode == "development" or faulty),
        "databases": stores,
        "existing": existing(draw, ports),
        "editions": {} if local else editions(draw, faulty),
    }
    if not local:
        updates(draw, made, ports, faulty)
    if made["editions"] and draw(st.booleans()):
        made["edition"] = draw(st.sampled_from(sorted(made["editions"])))
    if stores and draw(st.booleans()):
        made["secrets"] = {draw(st.sampled_from(sorted(stores))): SECRET}
    return made


junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=12),
        st.sampled_from(["{", "[", "[[[", '{"a":1}', "8301", "64MB", "[secret]", "0.0.0.0/0", "x" * 5000, "\ud800"]),
    ),
    lambda inside: st.one_of(
        st.lists(inside, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=8), st.integers(), st.just("[key]")), inside, max_size=3),
    ),
    max_leaves=6,
)
"""Anything that JSON or YAML can hold, and some that looks like what a stack file says."""
