"""The rules on ports: each with a bad stack file and its exact message (P6, P10, D1-D3, D8-D10, D15)."""

from __future__ import annotations

import pytest

from tests.plan.stacks import Change, drop, notices_of, plan_of, problems_of, put

TENCENT, ALIBABA, LOCAL = "101.33.251.158", "47.115.168.107", "127.0.0.1"


def port(service: str, value: int) -> Change:
    return put(f"services.{service}.port", value)


def debug(service: str, value: int) -> Change:
    return put(f"services.{service}.debug_port", value)


def edition_port(edition: str, member: str, value: int) -> Change:
    return put(f"editions.{edition}.services.{member}.port", value)


TAKEN = [
    pytest.param(
        "local",
        [port("governance-service", 8302)],
        [f"services.governance-service.port: 8302 is taken on {LOCAL} by identity-service; 8303 is free"],
        id="service-and-service",
    ),
    pytest.param(
        "local",
        [port("governance-service", 8302), port("crosschain-service", 8302)],
        [
            f"services.crosschain-service.port: 8302 is taken on {LOCAL} by governance-service, identity-service; "
            "8304 is free",
            f"services.governance-service.port: 8302 is taken on {LOCAL} by crosschain-service, identity-service; "
            "8303 is free",
        ],
        id="three-services",
    ),
    pytest.param(
        "tencent",
        [
            port(name, 8401)
            for name in ("identity-service", "governance-service", "crosschain-service", "blockchain-auth")
        ],
        [
            f"services.{name}.port: 8401 is taken on {TENCENT} by {others}, and more; {free} is free"
            for name, others, free in [
                ("blockchain-auth", "blockchain-service, crosschain-service, governance-service", 8430),
                ("blockchain-service", "blockchain-auth, crosschain-service, governance-service", 8403),
                ("crosschain-service", "blockchain-auth, blockchain-service, governance-service", 8404),
                ("governance-service", "blockchain-auth, blockchain-service, crosschain-service", 8402),
            ]
        ],
        id="five-services",
    ),
    pytest.param(
        "local",
        [put("databases.redis.port", 8312)],
        [f"services.blockchain-monitor.port: 8312 is taken on {LOCAL} by redis; 8310 is free"],
        id="service-and-database",
    ),
    pytest.param(
        "tencent",
        [put("databases.neo4j.ports", [8433])],
        [f"services.blockchain-audit.port: 8433 is taken on {TENCENT} by neo4j; 8430 is free"],
        id="service-and-a-databases-other-port",
    ),
    pytest.param(
        "tencent",
        [port("blockchain-service", 8400)],
        [
            f"editions.dao.services.dao-shared-service.port: 8400 is taken on {TENCENT} by blockchain-service; "
            "8401 is free"
        ],
        id="service-and-edition",
    ),
    pytest.param(
        "tencent",
        [put("existing.dao-job.ports", [7531, 8433])],
        [f"services.blockchain-audit.port: 8433 is taken on {TENCENT} by dao-job; 8430 is free"],
        id="service-and-declared-existing",
    ),
    pytest.param(  # D2
        "tencent",
        [edition_port("blockchain", "blockchain-shared-service", 9200)],
        [
            "editions.blockchain.services.blockchain-shared-service.port: "
            f"9200 is taken on {TENCENT} by elasticsearch; 9201 is free"
        ],
        id="D2-edition-and-elasticsearch-though-the-edition-is-off",
    ),
    pytest.param(  # D3
        "tencent",
        [edition_port("future", "future-service-2", 8080)],
        [
            f"editions.future.services.future-service-2.port: 8080 is taken on {TENCENT} by weaviate; 8001 is free",
        ],
        id="D3-edition-and-weaviate",
    ),
    pytest.param(  # D15: a declared existing service owns its own
        "tencent",
        [edition_port("dao", "dao-service-2", 8206)],
        [f"editions.dao.services.dao-service-2.port: 8206 is taken on {TENCENT} by dao-ai; 8201 is free"],
        id="D15-edition-and-declared-existing",
    ),
    pytest.param(
        "tencent",
        [edition_port("dao", "dao-service-2", 8200)],
        [f"editions.dao.services.dao-service-2.port: 8200 is taken on {TENCENT} by dao-service-1; 8201 is free"],
        id="two-of-one-edition",
    ),
    pytest.param(
        "tencent",
        [put("existing.dao-job.ports", [7531, 7687])],
        [f"existing.dao-job.ports: 7687 is taken on {TENCENT} by neo4j; 7688 is free"],
        id="existing-and-database",
    ),
    pytest.param(
        "tencent",
        [put("databases.redis.port", 3306)],
        [f"databases.redis.port: 3306 is taken on {TENCENT} by mysql; 3307 is free"],
        id="two-databases",
    ),
    pytest.param(
        "tencent",
        [put("databases.neo4j.ports", [7474])],
        [f"databases.neo4j.ports: 7474 is taken on {TENCENT} by neo4j; 7475 is free"],
        id="a-database-and-itself",
    ),
    pytest.param(
        "alibaba",
        [put("existing.grafana.ports", [9514])],
        [f"existing.grafana.ports: 9514 is taken on {ALIBABA} by prometheus; 9600 is free"],
        id="two-existing",
    ),
    pytest.param(  # D9: ports are checked per host, and 9506 is the reward service there
        "alibaba",
        [put("databases.mysql.port", 9506)],
        [f"services.dao-reward.port: 9506 is taken on {ALIBABA} by mysql; 9501 is free"],
        id="D9-dao-service-and-database",
    ),
    pytest.param(  # D8: Consul owns 8500, services start at 8501
        "alibaba",
        [port("blockchain-service", 8500)],
        [
            "services.blockchain-service.port: 8500 is reserved for Consul; 8501 is free",
            f"services.blockchain-service.port: 8500 is taken on {ALIBABA} by consul; 8501 is free",
        ],
        id="D8-service-and-consul",
    ),
    pytest.param(
        "local",
        [debug("identity-service", 8303)],
        [
            f"services.governance-service.port: 8303 is taken on {LOCAL} by the debugger of identity-service; "
            "8305 is free"
        ],
        id="debugger-and-service",
    ),
    pytest.param(
        "local",
        [debug("identity-service", 8302)],
        [f"services.identity-service.debug_port: 8302 is taken on {LOCAL} by identity-service; 5678 is free"],
        id="debugger-and-its-own-service",
    ),
    pytest.param(
        "local",
        [debug("identity-service", 5678), debug("governance-service", 5678)],
        [
            f"services.governance-service.debug_port: 5678 is taken on {LOCAL} by the debugger of identity-service; "
            "5679 is free"
        ],
        id="two-debuggers",
    ),
]

OUTSIDE = [
    pytest.param(
        "local",
        [port("identity-service", 8402)],
        ["services.identity-service.port: 8402 is outside 8300-8399, the range of environment local; 8302 is free"],
        id="local",
    ),
    pytest.param(
        "tencent",
        [port("blockchain-audit", 8500 + 34)],
        ["services.blockchain-audit.port: 8534 is outside 8400-8499, the range of environment tencent; 8430 is free"],
        id="tencent",
    ),
    pytest.param(  # D10
        "alibaba",
        [port("dao-voting", 8515)],
        ["services.dao-voting.port: 8515 is outside 9500-9599, the range of group dao; 9501 is free"],
        id="D10-group-dao-has-its-own-range",
    ),
    pytest.param(  # D10: that range is nobody else's
        "alibaba",
        [port("blockchain-audit", 9599)],
        [
            "services.blockchain-audit.port: 9599 is outside 8500-8599, the range of environment alibaba; 8510 is free",
            "services.blockchain-audit.port: 9599 is reserved for the DAO services; 8510 is free",
        ],
        id="D10-another-group-in-the-dao-range",
    ),
    pytest.param(  # E2
        "tencent",
        [edition_port("dao", "dao-service-3", 8202)],
        [
            "editions.dao.services.dao-service-3.port: 8202 is outside 8300-8399, the range of dao-service-3; "
            "8300 is free"
        ],
        id="E2-edition",
    ),
    pytest.param(  # E2
        "tencent",
        [edition_port("future", "future-shared-service", 8003)],
        [
            "editions.future.services.future-shared-service.port: 8003 is outside 8100-8199, "
            "the range of future-shared-service; 8100 is free"
        ],
        id="E2-shared-service",
    ),
    pytest.param(  # P10
        "local",
        [port("blockchain-monitor", 8325)],
        [
            "services.blockchain-monitor.port: 8325 is in 8320-8329, which stays empty: "
            "what belongs there is reused elsewhere; 8310 is free"
        ],
        id="P10-kept-empty-local",
    ),
    pytest.param(  # P10
        "alibaba",
        [port("blockchain-audit", 8520)],
        [
            "services.blockchain-audit.port: 8520 is in 8520-8529, which stays empty: "
            "what belongs there is reused elsewhere; 8510 is free"
        ],
        id="P10-kept-empty-alibaba",
    ),
    pytest.param(
        "local",
        [put("range", "8301-8304")],
        [
            "services.blockchain-config.port: "
            "8311 is outside 8301-8304, the range of environment local; no port of 8301-8304 is free",
            "services.blockchain-monitor.port: "
            "8312 is outside 8301-8304, the range of environment local; no port of 8301-8304 is free",
        ],
        id="no-port-left-to-offer",
    ),
]


@pytest.mark.parametrize(("stack", "changes", "problems"), [*TAKEN, *OUTSIDE])
def test_a_port_that_cant_be_held_is_named_with_a_free_one(
    stack: str, changes: list[Change], problems: list[str]
) -> None:
    assert problems_of(stack, *changes) == problems  # P6, P10


RESERVED = [
    (9500, "the DAO services"),
    (9599, "the DAO services"),
    (8080, "existing microservices"),
    (8099, "existing microservices"),
    (8200, "existing microservices"),
    (8299, "existing microservices"),
    (3306, "MySQL"),
    (5432, "PostgreSQL"),
    (6379, "Redis"),
    (7474, "Neo4j"),
    (8500, "Consul"),
]


@pytest.mark.parametrize(("number", "owner"), RESERVED)
def test_each_reserved_port_is_refused_inside_the_range_too(number: int, owner: str) -> None:
    found = problems_of("local", put("range", "3000-9999"), port("blockchain-config", number))
    # 3010 is the first of the group's sub-range in this range.
    assert found == [f"services.blockchain-config.port: {number} is reserved for {owner}; 3010 is free"]  # P6


@pytest.mark.parametrize("number", [9499, 9600, 8079, 8100, 8199, 8300, 3305, 3307, 8499, 8501])
def test_the_neighbours_of_reserved_ports_are_free(number: int) -> None:
    plan_of("local", put("range", "3000-9999"), port("blockchain-config", number))  # P6


@pytest.mark.parametrize("number", [8250, 9550, 8500])
def test_a_debugger_keeps_out_of_reserved_ports(number: int) -> None:
    owner = {8250: "existing microservices", 9550: "the DAO services", 8500: "Consul"}[number]
    assert problems_of("local", debug("identity-service", number)) == [
        f"services.identity-service.debug_port: {number} is reserved for {owner}; 5678 is free"
    ]  # P6


def test_a_reserved_port_is_never_offered() -> None:
    found = problems_of("local", put("range", "8200-8399"), port("governance-service", 8302))
    # The group's sub-range would be 8200-8209, which is the microservices'.
    assert found == [f"services.governance-service.port: 8302 is taken on {LOCAL} by identity-service; 8300 is free"]


def test_one_service_is_offered_one_port_and_each_port_once() -> None:
    changes = [port("blockchain-config", 9506), port("blockchain-monitor", 9506)]
    offers: dict[str, set[str]] = {}
    for problem in problems_of("local", *changes):
        offers.setdefault(problem.split(":")[0], set()).add(problem.split("; ")[1])
    assert offers == {
        "services.blockchain-config.port": {"8310 is free"},
        "services.blockchain-monitor.port": {"8311 is free"},
    }


@pytest.mark.parametrize("number", [8301, 8302])
def test_what_consul_takes_unlisted_is_reserved_where_it_runs(number: int) -> None:
    found = problems_of("alibaba", put("range", "8300-8599"), port("blockchain-audit", number))
    assert found == [f"services.blockchain-audit.port: {number} is reserved for Consul; 8310 is free"]  # D8


@pytest.mark.parametrize("number", [8300, 8600])
def test_consuls_listed_ports_are_its_own(number: int) -> None:
    found = problems_of("alibaba", put("range", "8299-8699"), port("blockchain-audit", number))
    assert found == [f"services.blockchain-audit.port: {number} is taken on {ALIBABA} by consul; 8309 is free"]  # D8


def test_consuls_ports_are_reserved_for_editions_too() -> None:
    assert problems_of("tencent", put("existing.consul", {"ports": [8500]})) == [
        "editions.dao.services.dao-service-3.port: 8300 is reserved for Consul; 8303 is free"
    ]  # D8


def test_consuls_other_ports_are_free_where_it_doesnt_run() -> None:
    plan_of("local", port("blockchain-config", 8305), debug("identity-service", 8600))  # D8


OVERLAPS = [
    "editions.dao: 8200-8299 of edition dao overlaps 8200-8299 of existing microservices; only ports may not (D15)",
    "editions.future: 8000-8099 of edition future overlaps 8080-8099 of existing microservices; "
    "only ports may not (D15)",
    "range: 8400-8499 of the environment overlaps 8400-8499 of edition dao; only ports may not (D1)",
]


def test_ranges_that_overlap_are_notices_only() -> None:
    assert [notice for notice in notices_of("tencent") if "overlaps" in notice] == OVERLAPS  # D1, D15


def test_ranges_that_dont_overlap_arent_mentioned() -> None:
    changes = [drop("editions"), drop("edition")]
    assert [notice for notice in notices_of("tencent", *changes) if "overlaps" in notice] == []  # D1
    assert not any("overlaps" in notice for stack in ("local", "alibaba") for notice in notices_of(stack))


def test_a_port_outside_its_groups_sub_range_is_a_notice() -> None:
    notices = notices_of("tencent", port("blockchain-config", 8499), port("blockchain-storage", 8430))
    assert [notice for notice in notices if "sub-range" in notice] == [
        "services.blockchain-config.port: 8499 is outside 8410-8419, "
        "the documented sub-range of group infrastructure (P10)",
        "services.blockchain-storage.port: 8430 is outside 8420-8429, the documented sub-range of group storage (P10)",
    ]


@pytest.mark.parametrize("stack", ["local", "tencent", "alibaba"])
def test_the_documented_ports_are_in_their_sub_ranges(stack: str) -> None:
    assert not any("sub-range" in notice for notice in notices_of(stack))  # P10


def test_consuls_newer_port_is_a_notice_where_consul_runs() -> None:
    notice = (
        "services.governance-service.port: newer versions of Consul take 8503 (gRPC TLS); "
        "where one runs, set `ports { grpc_tls = -1 }` in Consul's configuration (D8)"
    )
    assert notice in notices_of("alibaba")
    assert notice not in notices_of("alibaba", drop("existing.consul"))


def test_a_database_on_another_host_takes_no_port_here() -> None:
    plan_of("local", put("databases.redis.port", 8312), put("databases.redis.host", "10.0.0.9"))  # D9


def test_reusing_what_lives_in_a_reserved_range_is_fine() -> None:
    plan = plan_of("local")
    assert [(database.name, database.port) for database in plan.databases] == [("mysql", 9506), ("redis", 9507)]  # D9
