"""Ports that come with an edge: who may have them, and who reaches them (issue 5)."""

from __future__ import annotations

from typing import Any

import pytest

from plan.render.firewall import firewall
from tests.plan.stacks import RECREATE, Change, drop, plan_of, problems_of, put

TENCENT = "101.33.251.158"
GATEWAY = "services.blockchain-gateway"
AUTH = "services.blockchain-auth"
CERTIFICATES = put("edge.certificates", "/etc/blockchain-dao/tls")
ACME = put("edge.acme_thumbprint", "a" * 43)
EVERYBODY = ["0.0.0.0/0", "::/0"]

OWN = "is in 32768-60999, from which connections get theirs by themselves"

CLASHES: list[tuple[str, list[Change], list[str]]] = [
    (
        "tencent",
        [put("existing.dao-ai.ports", [8206, 16862])],
        [
            f"{AUTH}.port: 16862 (twice the port, on which the edge finds it) is taken on {TENCENT} by dao-ai; "
            "8430 is free"
        ],
    ),
    (
        "tencent",
        [put("databases.mysql.port", 16863)],
        [
            f"{AUTH}.port: 16863 (twice the port, on which the edge finds it) is taken on {TENCENT} by mysql; "
            "8430 is free"
        ],
    ),
    # An edition's, also of one that is off: it comes back.
    (
        "tencent",
        [put("existing.dao-ai.ports", [8206, 16400])],
        [
            "editions.dao.services.dao-service-1.port: 16400 (twice the port, on which the edge finds it) is taken on "
            f"{TENCENT} by dao-ai; 8202 is free"
        ],
    ),
    (
        "tencent",
        [put("edge.port", 18402)],
        [
            "editions.blockchain.services.blockchain-shared-service.port: 18402 (twice the port, on which the edge "
            f"finds it) is taken on {TENCENT} by edge; 9202 is free"
        ],
    ),
    # One error is told once: two services on one port have one pair, too.
    (
        "tencent",
        [put(f"{AUTH}.port", 8432)],
        [f"services.blockchain-encrypt.port: 8432 is taken on {TENCENT} by blockchain-auth; 8430 is free"],
    ),
    # Nobody moves but whose own port it is.
    (
        "tencent",
        [put("existing.dao-ai.ports", [8419])],
        [f"edge.port: 8419 is taken on {TENCENT} by dao-ai; 8418 is free"],
    ),
    (
        "tencent",
        [put("edge.port", 8412)],
        [f"edge.port: 8412 is taken on {TENCENT} by blockchain-monitor; 8419 is free"],
    ),
    (
        "tencent",
        [put("edge.port", 16862)],
        [
            f"{AUTH}.port: 16862 (twice the port, on which the edge finds it) is taken on {TENCENT} by edge; "
            "8430 is free"
        ],
    ),
    (
        "tencent",
        [put("edge.port", 6379)],
        [
            f"edge.port: 6379 is taken on {TENCENT} by redis; 8419 is free",
        ],
    ),
    (
        "alibaba",
        [put("edge.port", 8520)],
        ["edge.port: 8520 is in 8520-8529, which stays empty: what belongs there is reused elsewhere; 8519 is free"],
    ),
    (
        "tencent",
        [put(f"{GATEWAY}.tls", 9501), CERTIFICATES],
        [f"{GATEWAY}.tls: 9501 is reserved for the DAO services; 9600 is free"],
    ),
    (
        "tencent",
        [put(f"{GATEWAY}.tls", 8401), CERTIFICATES],
        [f"{GATEWAY}.tls: 8401 is taken on {TENCENT} by blockchain-service; 8600 is free"],
    ),
    (
        "tencent",
        [put("existing.nginx.ports", [80, 443]), put(f"{GATEWAY}.tls", 443), CERTIFICATES, ACME],
        [
            f"edge.acme_thumbprint: 80 is taken on {TENCENT} by nginx; "
            "drop it, or free 80: ACME asks there and nowhere else",
            f"{GATEWAY}.tls: 443 is taken on {TENCENT} by nginx; 444 is free",
        ],
    ),
    (
        "tencent",
        [put(f"{GATEWAY}.tls", 80), CERTIFICATES, ACME],
        [
            f"edge.acme_thumbprint: 80 is taken on {TENCENT} by blockchain-gateway; "
            "drop it, or free 80: ACME asks there and nowhere else"
        ],
    ),
    # Theirs alone are the environment's own range, and what nobody has.
    (
        "tencent",
        [put("edge.port", 8555), put(f"{GATEWAY}.tls", 8399), CERTIFICATES],
        [
            "edge.port: 8555 is in 8500-8599, the range of environment alibaba; 8419 is free",
            f"{GATEWAY}.tls: 8399 is in 8300-8399, the range of environment local; 8600 is free",
        ],
    ),
    (
        "tencent",
        [put("edge.port", 33000), put(f"{GATEWAY}.tls", 40000), CERTIFICATES],
        [
            f"edge.port: 33000 {OWN}; 8419 is free",
            f"{GATEWAY}.tls: 40000 {OWN}; 61000 is free",
        ],
    ),
    (
        "tencent",
        [put("edge.port", 9150), put(f"{GATEWAY}.tls", 8005), CERTIFICATES],
        [
            "edge.port: 9150 is in 9100-9199, the range of edition blockchain; 8419 is free",
            f"{GATEWAY}.tls: 8005 is in 8000-8099, the range of edition future; 8600 is free",
        ],
    ),
    (
        "tencent",
        [put(f"{GATEWAY}.tls", 16862), CERTIFICATES],
        [
            f"{AUTH}.port: 16862 (twice the port, on which the edge finds it) is taken on {TENCENT} by "
            "blockchain-gateway; 8430 is free"
        ],
    ),
    (
        "tencent",
        [put(f"{GATEWAY}.tls", 8419), CERTIFICATES],
        [f"{GATEWAY}.tls: 8419 is taken on {TENCENT} by edge; 8600 is free"],
    ),
    (
        "tencent",
        [put(f"{GATEWAY}.tls", 443)],
        [
            f"{GATEWAY}.tls: the edge has no certificate to answer with; "
            "add edge.certificates: the server's folder with the PEM files"
        ],
    ),
    (
        "tencent",
        [put(f"{AUTH}.tls", 443), CERTIFICATES],
        [f"{AUTH}.tls: nobody reaches blockchain-auth from outside: it isn't public; add `public: true`, or drop it"],
    ),
]


@pytest.mark.parametrize(("stack", "changes", "told"), CLASHES)
def test_ports_and_certificates_that_cant_be(stack: str, changes: list[Change], told: list[str]) -> None:
    assert problems_of(stack, *changes) == told


def alone(first: int, port: int, **more: Any) -> list[Change]:
    """A server with one service of one's own in a range of its own."""
    services = put("services", {"mine": {"port": port, "own": True, **more}})
    return [put("range", f"{first}-{first + 99}"), services, drop("editions"), drop("edition"), put("existing", {})]


def test_a_pair_is_neither_roots_nor_the_connections() -> None:
    wrong = "can't be behind the edge: its container is to have twice the port"
    above = "which are above 32767: connections get these by themselves"
    high = f"services.mine.port: 16384 {wrong}, 32768 or 32769, {above}; "
    assert problems_of("tencent", *alone(16384, 16384)) == [
        f"{high}choose one of 512-16383; or say `updates: recreate`"
    ]
    assert problems_of("tencent", *alone(16300, 16384)) == [f"{high}16301 is free; or say `updates: recreate`"]
    low = f"services.mine.port: 511 {wrong}, 1022 or 1023, which are below 1024, where root alone may listen; "
    assert problems_of("tencent", *alone(500, 511)) == [f"{low}512 is free; or say `updates: recreate`"]
    for first, port in ((500, 512), (16300, 16383)):
        assert plan_of("tencent", *alone(first, port)).services[0].port == port
    plan_of("tencent", *alone(16384, 16384), *RECREATE["tencent"])


def test_a_pair_may_not_be_what_the_documents_reserve() -> None:
    pair = "(twice the port, on which the edge finds it)"
    assert problems_of("tencent", *alone(4200, 4250)) == [
        f"services.mine.port: 8500 {pair} is reserved for Consul; 4201 is free"
    ]
    assert problems_of("tencent", *alone(4700, 4752)) == [
        f"services.mine.port: 9504 {pair} is reserved for the DAO services; 4701 is free",
        f"services.mine.port: 9505 {pair} is reserved for the DAO services; 4701 is free",
    ]


def closed(*changes: Change) -> dict[int, Any]:
    entries = firewall(plan_of("tencent", *changes))["ports"]
    assert len({entry["port"] for entry in entries}) == len(entries)
    return {entry["port"]: (entry["owner"], entry["open_to"]) for entry in entries}


def test_nobody_outside_reaches_past_the_edge() -> None:
    found = closed()
    plan = plan_of("tencent")
    members = [member for edition in plan.editions for member in edition.members]
    assert len(members) == 12
    for service in (*plan.services, *members):
        for port in (2 * service.port, 2 * service.port + 1):
            assert found[port] == (service.name, [])
    assert found[8419] == ("edge", [])
    assert 80 not in found
    assert {16822, 16400, 16000}.isdisjoint(closed(*RECREATE["tencent"]))
    assert 8419 not in closed(*RECREATE["tencent"])


def test_with_tls_the_plain_port_is_closed() -> None:
    tls = [CERTIFICATES, put(f"{GATEWAY}.tls", 443), put(f"{GATEWAY}.open_to", ["203.0.113.0/24"])]
    found = closed(*tls, ACME)
    assert found[8411] == ("blockchain-gateway", [])
    assert found[443] == ("blockchain-gateway", ["203.0.113.0/24"])
    assert found[80] == ("edge", EVERYBODY)  # who issues certificates asks from anywhere
    own = closed(CERTIFICATES, put(f"{GATEWAY}.tls", 8411))
    assert own[8411] == ("blockchain-gateway", EVERYBODY)
