"""Memory, CPU and disk against the host, with the sum as a table (D14)."""

from __future__ import annotations

import pytest

from tests.plan.stacks import Change, changed, drop, notices_of, plan_of, problems_of, put, refusal

ALIBABA_TABLE = """\
                                     cpus    memory      disk
the system itself (host.reserve)      0.2     200MB       8GB
identity-service                     0.07      51MB     200MB
governance-service                   0.07      51MB     200MB
blockchain-storage                   0.07      51MB     200MB
blockchain-cache                     0.07      51MB     200MB
blockchain-security                  0.07      51MB     200MB
blockchain-audit                     0.07     200MB     200MB
dao-governance                       0.07      51MB     200MB
dao-voting                           0.07      51MB     200MB
dao-proposal                         0.07      51MB     200MB
dao-reward                           0.07      51MB     200MB
blockchain-service                   0.07      51MB     200MB
crosschain-service                   0.07      51MB     200MB
edge                                  0.2      32MB      50MB
mysql                                 0.1     300MB       5GB
redis                                0.05      60MB       1GB
postgres                             0.05     120MB       5GB
ai                                    0.1     120MB       2GB
consul                                0.1      60MB     500MB
zervigo                               0.1      60MB     500MB
prometheus                            0.1     100MB       5GB
grafana                              0.05      80MB       1GB
sum                                  1.89   1.893GB   30.45GB
host 47.115.168.107                     2     1.8GB      40GB"""


def test_a_sum_beyond_the_host_shows_the_table() -> None:
    error = refusal("alibaba", changed("alibaba", put("services.blockchain-audit.memory", "200MB")))
    assert str(error) == (
        "Pulumi.alibaba.yaml has 1 problem; nothing was touched:\n"
        "  - host.memory: everything takes 1.893GB, the host has 1.8GB; lower limits by 93MB (table below)\n"
        "\n" + ALIBABA_TABLE
    )  # D14


BEYOND = [
    pytest.param(
        "local",
        [put("host.reserve.disk", "460GB")],
        ["host.disk: everything takes 461.2GB, the host has 460GB; lower limits by 1.2GB (table below)"],
        id="disk",
    ),
    pytest.param(
        "tencent",
        [put("defaults", {"cpus": 0.5})],
        ["host.cpus: everything takes 10.5 cores, the host has 4; lower limits by 6.5 (table below)"],
        id="cpus",
    ),
    pytest.param(
        "local",
        [put("host.cpus", 1), put("host.memory", "1GB"), put("host.disk", "1GB")],
        [
            "host.cpus: everything takes 2.6 cores, the host has 1; lower limits by 1.6 (table below)",
            "host.disk: everything takes 201.2GB, the host has 1GB; lower limits by 200.2GB (table below)",
            "host.memory: everything takes 8.384GB, the host has 1GB; lower limits by 7.384GB (table below)",
        ],
        id="all-three",
    ),
    pytest.param(
        "tencent",
        [put("editions.future.services.future-service-1.memory", "4GB"), put("edition", "future")],
        ["host.memory: everything takes 11.272GB, the host has 8GB; lower limits by 3.272GB (table below)"],
        id="the-edition-that-runs",
    ),
    pytest.param(
        "tencent",
        [put("databases.neo4j.memory", "3GB")],
        ["host.memory: everything takes 9.336GB, the host has 8GB; lower limits by 1.336GB (table below)"],
        id="a-database",
    ),
    pytest.param(
        "alibaba",
        [put("existing.ai.memory", "178MB")],
        ["host.memory: everything takes 1.802GB, the host has 1.8GB; lower limits by 2MB (table below)"],
        id="what-already-runs-there",
    ),
]


@pytest.mark.parametrize(("stack", "changes", "problems"), BEYOND)
def test_a_host_that_is_too_small_is_named_with_what_to_lower(
    stack: str, changes: list[Change], problems: list[str]
) -> None:
    assert problems_of(stack, *changes) == problems  # D14


def test_a_host_that_is_too_small_by_a_byte_is_too_small() -> None:
    """Rounding must not say that everything takes just what the host has, nor ask for lowering by nothing."""
    exactly = put("host.memory", "8384MB")
    plan_of("local", exactly)
    assert problems_of("local", exactly, put("databases.mysql.memory", "1B")) == [
        "host.memory: everything takes 8.385GB, the host has 8.384GB; lower limits by 0.1MB (table below)"
    ]


def test_sums_of_tenths_are_exact() -> None:
    # 2 + 6 * 0.1 is 2.5999999999999996 or 2.6000000000000005 in floats, whatever the order.
    plan_of("local", put("host.cpus", 2.6))  # D14
    assert problems_of("local", put("host.cpus", 2.59)) == [
        "host.cpus: everything takes 2.6 cores, the host has 2.59; lower limits by 0.01 (table below)"
    ]


def test_an_edition_that_is_off_costs_nothing() -> None:
    huge = put("editions.future.services.future-service-1.memory", "7GB")
    assert plan_of("tencent", huge).edition == "dao"  # D14, E1
    assert "host.memory" in problems_of("tencent", huge, put("edition", "future"))[0]


def test_a_group_that_is_off_costs_nothing() -> None:
    huge = put("services.dao-voting.memory", "7GB")
    plan_of("alibaba", huge, put("dao_group", False))  # D10
    assert "host.memory" in problems_of("alibaba", huge)[0]


def test_a_database_on_another_host_costs_nothing_here() -> None:
    changes = [put("databases.mysql.memory", "7GB"), put("databases.mysql.port", 3306)]
    plan_of("alibaba", *changes, put("databases.mysql.host", "10.0.0.9"))  # D14
    assert "host.memory" in problems_of("alibaba", *changes)[0]


def test_a_service_has_the_stacks_default_limits_unless_it_says_its_own() -> None:
    plan = plan_of("alibaba", put("services.blockchain-audit", {"port": 8514, "cpus": 0.05, "memory": "50MB"}))
    limits = {service.name: service.resources for service in plan.services}
    assert (limits["blockchain-audit"].cpus, limits["blockchain-audit"].memory) == (0.05, 50_000_000)
    assert limits["blockchain-audit"].disk == 200_000_000
    assert (limits["dao-voting"].cpus, limits["dao-voting"].memory) == (0.07, 51_000_000)  # D14


@pytest.mark.parametrize("stack", ["local", "tencent", "alibaba"])
def test_every_container_has_a_memory_limit(stack: str) -> None:
    plan = plan_of(stack)
    members = [member for edition in plan.editions for member in edition.members]
    assert all(service.resources.memory > 0 for service in (*plan.services, *members))  # D14


def test_memory_nearly_spent_is_a_notice() -> None:
    def about_memory(stack: str, *changes: Change) -> list[str]:
        return [notice for notice in notices_of(stack, *changes) if notice.startswith("host.memory")]

    assert about_memory("alibaba") == ["host.memory: everything takes 1.795GB of 1.8GB"]
    assert about_memory("tencent") == ["host.memory: everything takes 7.4GB of 8GB"]
    assert about_memory("local") == []
    assert about_memory("tencent", drop("edition")) == []
    # Nine tenths is nearly, a byte less isn't.
    assert about_memory("local", put("host.memory", "9315555556B")) == []
    assert about_memory("local", put("host.memory", "9315555555B")) == [
        "host.memory: everything takes 8.384GB of 9.316GB"
    ]
