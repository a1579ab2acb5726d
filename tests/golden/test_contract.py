"""What the plan writes, hostctl takes; and it says of secrets their names only (docs/contracts.md, D6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from hostctl.assemble import assemble
from hostctl.definitions import parse_database, parse_host, parse_service
from plan.render import definitions, host_files
from plan.semantic import SECRET
from tests.hostctl.samples import digest_of
from tests.plan.stacks import RECREATE, STACKS, Change, plan_of, put

IDENTITY = "services.identity-service"
VARIANTS: list[tuple[str, list[Change]]] = [
    *((stack, []) for stack in STACKS),
    ("local", [put(f"{IDENTITY}.health_timeout", 0.1), put(f"{IDENTITY}.stop_grace", 3600)]),
    ("local", [put(f"{IDENTITY}.command", ["python", "run.py"]), put(f"{IDENTITY}.debug_port", 5678)]),
    ("local", [put(f"{IDENTITY}.env", {"MOTTO": "区块链"})]),
    ("local", [put("secrets", {"mysql": SECRET, "redis": SECRET})]),
    ("tencent", [put("edition", "future")]),
    ("tencent", [put("databases.mysql.admin", "root"), put("secrets", {"mysql": SECRET, "mysql-admin": SECRET})]),
]


@pytest.mark.parametrize(("stack", "changes"), VARIANTS)
def test_hostctl_takes_every_definition(stack: str, changes: list[Change]) -> None:
    plan = plan_of(stack, *changes)
    made = definitions(plan)
    assert set(made) == {
        "host",
        *(["service/edge"] if stack != "local" else []),
        *(f"database/{database.name}" for database in plan.databases),
        *(f"service/{service.name}" for service in plan.running),
    }
    for key, definition in made.items():
        raw, name = json.dumps(definition, ensure_ascii=False).encode(), definition["name"]
        kind = key.split("/")[0]
        if kind == "host":
            taken: Any = parse_host(raw)
        elif kind == "database":
            taken = parse_database(raw, name)
        elif plan.runtime == "process":
            taken = parse_service(raw, name)
        else:
            continue  # what a container's definition says is compose's, which hostctl learns next
        assert taken["name"] == name


@pytest.mark.parametrize("stack", STACKS)
def test_a_digest_is_of_what_is_launched_and_judged(stack: str) -> None:
    changes = [put(f"{IDENTITY}.env", {"MOTTO": "区块链"}), *RECREATE[stack]]
    for key, made in definitions(plan_of(stack, *changes)).items():
        if key.startswith("service/"):
            assert made["digest"] == digest_of(made["launch"], made["secrets"], made["health"], made["stop"])


def test_a_service_names_the_secrets_that_it_needs_and_no_others() -> None:
    plan = plan_of("tencent", put("secrets", dict.fromkeys(["mysql", "postgres", "huawei"], SECRET)))
    named = {name: made["secrets"] for name, made in definitions(plan).items() if made.get("secrets")}
    assert named == {
        "service/identity-service": ["mysql"],
        "service/governance-service": ["mysql"],
        "service/blockchain-service": ["huawei"],
        "service/crosschain-service": ["huawei"],
        "service/dao-service-1": ["mysql"],
        "service/dao-service-2": ["mysql"],
        "service/dao-service-3": ["mysql"],
        "service/dao-shared-service": ["mysql"],
    }  # D6


@pytest.mark.parametrize("stack", STACKS)
def test_an_embedded_store_is_named_in_the_environment_and_changes_its_users_alone(stack: str) -> None:
    plan = plan_of(stack)
    before, after = definitions(plan), definitions(plan, {"redis": "embedded"})
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"service/identity-service", "service/governance-service"}
    env = after["service/identity-service"]["launch"]["env"]
    assert env["SERVICE_DATABASES"] == "mysql=reused,redis=embedded"


def setups(stack: str, *names: str) -> dict[str, Any]:
    """What hostctl is told to set up, with an admin `boss` for these databases."""
    secrets = {name: SECRET for one in names for name in (one, f"{one}-admin")}
    plan = plan_of(stack, put("secrets", secrets), *(put(f"databases.{name}.admin", "boss") for name in names))
    made = definitions(plan)
    for key, definition in made.items():
        if key.startswith("service/"):
            assert not any("admin" in name for name in definition["secrets"])  # D6
    inputs = {name: made[f"database/{name}"]["check"]["input"] for name in names}
    assert {(one["user"], one["database"]) for one in inputs.values()} <= {
        ("blockchain", "blockchain"),
        ("blockchain", "0"),
    }
    return {name: one["setup"] for name, one in inputs.items()}


def test_what_an_admin_makes() -> None:
    base = {"admin": "boss", "user": "blockchain"}
    assert setups("tencent", "mysql", "postgres", "redis") == {
        "mysql": {
            **base,
            "databases": ["blockchain", "future_users", "dao_users", "blockchain_users"],  # E4, D24
            "subnet": "172.28.84.0/24",
        },
        "postgres": {**base, "databases": ["blockchain"]},
        "redis": {**base, "prefixes": ["blockchain:"]},
    }
    assert setups("alibaba", "mysql") == {"mysql": {**base, "databases": ["blockchain"], "subnet": "172.28.85.0/24"}}
    assert setups("local", "mysql") == {"mysql": {**base, "databases": ["blockchain"]}}


def test_services_are_told_the_prefix_of_their_keys() -> None:
    secrets = put("secrets", {"redis": SECRET, "redis-admin": SECRET})
    made = definitions(plan_of("alibaba", secrets, put("databases.redis.admin", "default")))
    assert made["service/identity-service"]["launch"]["env"]["BLOCKCHAIN_REDIS_PREFIX"] == "blockchain:"
    before = definitions(plan_of("alibaba"))
    assert "BLOCKCHAIN_REDIS_PREFIX" not in before["service/identity-service"]["launch"]["env"]


def test_databases_in_containers_say_which_ports_these_publish() -> None:
    made = definitions(plan_of("tencent"))
    assert (made["database/neo4j"]["container"], made["database/neo4j"]["ports"]) == ("test-neo4j", [7474, 7687])
    elsewhere = definitions(plan_of("tencent", put("databases.neo4j.host", "10.0.0.9")))
    assert "container" not in elsewhere["database/neo4j"]


def test_services_are_registered_where_the_host_has_a_consul() -> None:
    made = definitions(plan_of("alibaba"))
    local = {"consul": "http://127.0.0.1:8500"}
    assert made["service/identity-service"]["register"] == {
        **local,
        "address": "47.115.168.107",  # D19: it is public
        "tags": ["alibaba", "core"],
    }
    assert made["service/blockchain-audit"]["register"] == {
        **local,
        "address": "127.0.0.1",
        "tags": ["alibaba", "security"],
    }
    assert not any("register" in one for stack in ("local", "tencent") for one in definitions(plan_of(stack)).values())
    ports = put("existing.consul.ports", [8300, 18500])
    other = definitions(plan_of("alibaba", ports))["service/blockchain-audit"]["register"]
    assert other["consul"] == "http://127.0.0.1:8300"  # the first, where 8500 is not listed
    assert (
        made["service/identity-service"]["digest"]
        == (definitions(plan_of("alibaba", ports))["service/identity-service"]["digest"])
    )  # no reason to start a service again


def test_what_is_beside_is_told_to_hostctl() -> None:
    insist = put("existing.dao-ai.when_missing", "fail")
    made = definitions(plan_of("tencent", insist, put("existing.dao-job.host", "10.0.0.9")))["host"]["integrations"]
    assert made == {
        "dao-resume": {"host": "127.0.0.1", "ports": [9502], "when_missing": "notice"},
        "dao-job": {"host": "10.0.0.9", "ports": [7531], "when_missing": "notice"},
        "dao-governance-api": {"host": "127.0.0.1", "ports": [9503], "when_missing": "notice"},
        "dao-ai": {"host": "127.0.0.1", "ports": [8206], "when_missing": "fail"},
    }  # P2, D20
    assert "integrations" not in definitions(plan_of("local"))["host"]


def test_prometheus_reads_its_targets_from_a_list() -> None:
    plan = plan_of("alibaba")
    file = yaml.safe_load(host_files(plan)["prometheus-blockchain-alibaba.yml"])
    groups = [group for group in file if group["targets"]]
    assert all(set(group) <= {"targets", "labels"} for group in file)  # Prometheus refuses other keys
    assert {group["labels"]["service"]: group["targets"] for group in groups} == {
        "edge": ["127.0.0.1:8519"],
        **{service.name: [f"127.0.0.1:{service.port}"] for service in plan.running},
    }
    identity = next(group for group in groups if group["labels"]["service"] == "identity-service")
    assert identity["labels"] == {"service": "identity-service", "stack": "alibaba", "group": "core"}
    # A host with no service yet.
    alone = assemble({"host": definitions(plan)["host"]["parts"]})["prometheus-blockchain-alibaba.yml"]
    assert yaml.safe_load(alone) == [{"targets": []}]
    assert not any("prometheus" in name for stack in ("local", "tencent") for name in host_files(plan_of(stack)))
