"""What the two documents say of the three environments, written down here a second time (P1-P3, D2-D4, P9, P10).

Nothing here is computed from the stack files: who changes one of the documented facts must change it here too.
"""

from __future__ import annotations

from typing import Any

import pytest

from plan.models import EnvironmentPlan, ServicePlan
from plan.semantic import PortRange
from plan.summary import costs, endpoint, ports
from tests.plan.stacks import STACKS, drop, plan_of, put

GB = 10**9

PORTS = {
    "local": {  # P1, D12
        "blockchain-service": 8301,
        "identity-service": 8302,
        "governance-service": 8303,
        "crosschain-service": 8304,
        "blockchain-config": 8311,
        "blockchain-monitor": 8312,
    },
    "tencent": {  # P2
        "blockchain-service": 8401,
        "identity-service": 8402,
        "governance-service": 8403,
        "crosschain-service": 8404,
        "blockchain-gateway": 8411,
        "blockchain-monitor": 8412,
        "blockchain-config": 8413,
        "blockchain-storage": 8421,
        "blockchain-cache": 8422,
        "blockchain-auth": 8431,
        "blockchain-encrypt": 8432,
        "blockchain-audit": 8433,
    },
    "alibaba": {  # P3
        "blockchain-service": 8501,
        "identity-service": 8502,
        "governance-service": 8503,
        "crosschain-service": 8504,
        "blockchain-storage": 8511,
        "blockchain-cache": 8512,
        "blockchain-security": 8513,
        "blockchain-audit": 8514,
        "dao-governance": 9503,
        "dao-voting": 9504,
        "dao-proposal": 9505,
        "dao-reward": 9506,
    },
}
DATABASES = {
    "local": {"mysql": (9506,), "redis": (9507,)},  # P1, D9
    "tencent": {  # P2, E1, D16: the same containers for the twelve services and the three editions
        "mysql": (3306,),
        "redis": (6379,),
        "postgres": (5432,),
        "neo4j": (7474, 7687),
        "elasticsearch": (9200,),
        "weaviate": (8080,),
    },
    "alibaba": {"redis": (6379,), "mysql": (9507,), "postgres": (5432,)},  # P3
}
EXISTING = {
    "local": {},
    "tencent": {"dao-resume": (9502,), "dao-job": (7531,), "dao-governance-api": (9503,), "dao-ai": (8206,)},  # P2
    "alibaba": {  # P3
        "ai": (8206,),
        "consul": (8300, 8500, 8600),
        "zervigo": (8080,),
        "prometheus": (9514,),
        "grafana": (9515,),
    },
}
EDITIONS = {  # D2, D3, D4
    "future": {
        "future-service-1": 8000,
        "future-service-2": 8001,
        "future-service-3": 8002,
        "future-shared-service": 8100,
    },
    "dao": {
        "dao-service-1": 8200,
        "dao-service-2": 8201,
        "dao-service-3": 8300,
        "dao-shared-service": 8400,
    },
    "blockchain": {
        "blockchain-service-1": 9000,
        "blockchain-service-2": 9001,
        "blockchain-service-3": 9100,
        "blockchain-shared-service": 9201,
    },
}
RANGES = {"local": (8300, 8399), "tencent": (8400, 8499), "alibaba": (8500, 8599)}
MODES = {"local": "development", "tencent": "integration", "alibaba": "production"}
CHAINS = {"local": ["simulation"], "tencent": ["huawei", "ethereum"], "alibaba": ["huawei"]}
ADDRESSES = {"local": "127.0.0.1", "tencent": "101.33.251.158", "alibaba": "47.115.168.107"}
SIZES = {"local": (None, 16 * GB, 460 * GB), "tencent": (4, 8 * GB, 100 * GB), "alibaba": (2, 1_800_000_000, 40 * GB)}
COSTS = {"local": 0, "tencent": 50, "alibaba": 100}
RUNTIMES = {"local": "process", "tencent": "compose", "alibaba": "compose"}
PUBLIC = {  # D19
    "local": set(),
    "tencent": {
        "blockchain-gateway",
        "dao-service-1",
        "dao-service-2",
        "dao-service-3",
        "dao-shared-service",
    },
    "alibaba": {"blockchain-service", "identity-service", "governance-service", "crosschain-service"},
}


@pytest.fixture(params=STACKS)
def plan(request: pytest.FixtureRequest) -> EnvironmentPlan:
    return plan_of(request.param)


def test_the_services_and_their_ports(plan: EnvironmentPlan) -> None:
    assert {service.name: service.port for service in plan.services} == PORTS[plan.name]  # P1, P2, P3


def test_the_databases_and_their_ports(plan: EnvironmentPlan) -> None:
    found = {database.name: (database.port, *database.ports) for database in plan.databases}
    assert found == DATABASES[plan.name]  # P1, P2, P3
    assert {database.name: database.kind for database in plan.databases} == {name: name for name in found}


def test_what_else_is_there(plan: EnvironmentPlan) -> None:
    assert {existing.name: existing.ports for existing in plan.existing} == EXISTING[plan.name]  # P2, P3, D20


def test_range_mode_chains_size_and_cost(plan: EnvironmentPlan) -> None:
    assert plan.range == PortRange(*RANGES[plan.name])  # P1, P2, P3
    assert plan.mode == MODES[plan.name]
    assert [chain.name for chain in plan.chains] == CHAINS[plan.name]
    assert plan.monthly_cost_yuan == COSTS[plan.name]  # P9
    assert plan.host.address == ADDRESSES[plan.name]
    cpus, memory, disk = SIZES[plan.name]
    assert (plan.host.capacity.memory, plan.host.capacity.disk) == (memory, disk)
    assert cpus is None or plan.host.capacity.cpus == cpus
    assert plan.runtime == RUNTIMES[plan.name]


def test_the_layout_of_the_hosts(plan: EnvironmentPlan) -> None:
    layout = plan.host.layout
    root = ".local" if plan.name == "local" else "/opt/blockchain-services"
    assert (layout.root, layout.env_file, layout.compose_file) == (
        root,
        f"blockchain-{plan.name}.env",
        f"docker-compose-blockchain-{plan.name}.yml",
    )  # P7
    assert (plan.host.user, plan.host.ssh_port) == ("root", 22)  # P11


def test_who_is_public(plan: EnvironmentPlan) -> None:
    assert {service.name for service in plan.running if service.public} == PUBLIC[plan.name]  # D19


def test_hot_reload_is_for_development(plan: EnvironmentPlan) -> None:
    assert {service.reload for service in plan.services} == {plan.name == "local"}  # P1


def test_the_editions_of_the_tencent_host() -> None:
    editions = {edition.name: edition for edition in plan_of("tencent").editions}
    found = {name: {member.name: member.port for member in edition.members} for name, edition in editions.items()}
    assert found == EDITIONS  # E2, D2, D3, D4
    assert {name: edition.shared.name for name, edition in editions.items()} == {
        name: f"{name}-shared-service" for name in EDITIONS
    }
    assert all(edition.shared.shared and not any(s.shared for s in edition.services) for edition in editions.values())


@pytest.mark.parametrize("edition", sorted(EDITIONS))
def test_exactly_one_edition_runs(edition: str) -> None:
    plan = plan_of("tencent", put("edition", edition))
    assert plan.active_edition is not None
    running = {service.name: service.port for service in plan.running}
    assert running == {**PORTS["tencent"], **EDITIONS[edition]}  # E1
    assert ports(plan) == running
    public = {service.name for service in plan.running if service.public}
    assert public == {"blockchain-gateway", *EDITIONS[edition]}  # D19


def test_none_may_run() -> None:
    plan = plan_of("tencent", drop("edition"))
    assert plan.active_edition is None
    assert {service.name for service in plan.running} == set(PORTS["tencent"])


@pytest.mark.parametrize("stack", ["local", "alibaba"])
def test_the_other_hosts_have_no_editions(stack: str) -> None:
    plan = plan_of(stack)
    assert (plan.editions, plan.edition) == ((), None)  # D23


def test_the_databases_have_their_documented_containers_on_tencent_alone() -> None:
    found = {database.name: database.container for database in plan_of("tencent").databases}
    assert found == {name: f"test-{name}" for name in DATABASES["tencent"]}  # E1
    assert {database.container for stack in ("local", "alibaba") for database in plan_of(stack).databases} == {None}


def test_databases_fall_back_on_the_laptop_alone() -> None:
    found = {stack: {database.when_missing for database in plan_of(stack).databases} for stack in STACKS}
    assert found == {"local": {"embedded"}, "tencent": {"fail"}, "alibaba": {"fail"}}  # P3


def test_the_dao_group_is_four_services_that_can_be_turned_off() -> None:
    four = {"dao-governance", "dao-voting", "dao-proposal", "dao-reward"}
    assert {service.name for service in plan_of("alibaba").services if service.group == "dao"} == four  # D10
    off = {service.name for service in plan_of("alibaba", put("dao_group", False)).services}
    assert off == set(PORTS["alibaba"]) - four


def test_groups_are_the_documents() -> None:
    groups: dict[str, set[Any]] = {}
    for stack in STACKS:
        for service in plan_of(stack).services:
            groups.setdefault(service.name, set()).add(service.group)
    assert {name: found.pop() for name, found in groups.items() if len(found) == 1} == {
        "blockchain-service": "core",
        "identity-service": "core",
        "governance-service": "core",
        "crosschain-service": "core",
        "blockchain-gateway": "infrastructure",
        "blockchain-monitor": "infrastructure",
        "blockchain-config": "infrastructure",
        "blockchain-storage": "storage",
        "blockchain-cache": "storage",
        "blockchain-auth": "security",
        "blockchain-encrypt": "security",
        "blockchain-audit": "security",
        "blockchain-security": "security",
        "dao-governance": "dao",
        "dao-voting": "dao",
        "dao-proposal": "dao",
        "dao-reward": "dao",
    }  # P10, D10, D21


def test_costs_are_half_of_the_original() -> None:
    assert costs() == {"local": 0, "tencent": 50, "alibaba": 100, "all": 150, "original": 300}  # P9


def test_endpoints_are_outside_only_where_public() -> None:
    def endpoints(stack: str, *names: str) -> list[str]:
        plan = plan_of(stack)
        return [endpoint(plan, service) for service in plan.running if service.name in names]

    assert endpoints("local", "identity-service") == ["http://127.0.0.1:8302"]
    assert endpoints("tencent", "blockchain-gateway", "blockchain-auth") == [
        "http://101.33.251.158:8411",
        "http://127.0.0.1:8431",
    ]  # D19
    assert endpoints("alibaba", "identity-service", "dao-voting") == [
        "http://47.115.168.107:8502",
        "http://127.0.0.1:9504",
    ]


def test_an_ipv6_endpoint_is_a_url() -> None:
    plan = plan_of("tencent", put("host.address", "2001:db8::7"))
    gateway: ServicePlan = next(service for service in plan.services if service.name == "blockchain-gateway")
    assert endpoint(plan, gateway) == "http://[2001:db8::7]:8411"
