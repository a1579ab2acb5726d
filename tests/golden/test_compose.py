"""The compose files as docker-compose reads them (P5, P7, D5, D11, D14, D19)."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hostctl.compose_files import CONTAINER
from plan.models import EnvironmentPlan
from plan.render import host_files
from plan.render.compose import block
from plan.render.environment import service_environment
from tests.plan.stacks import RECREATE, Change, drop, plan_of, put

SERVERS = ("tencent", "alibaba")
EDITION = ["dao-service-1", "dao-service-2", "dao-service-3", "dao-shared-service"]
PUBLIC = {  # D19
    "tencent": {"blockchain-gateway", *EDITION},
    "alibaba": {"blockchain-service", "identity-service", "governance-service", "crosschain-service"},
}
GATEWAY = {"tencent": "172.28.84.1", "alibaba": "172.28.85.1"}


def compose(plan: EnvironmentPlan) -> dict[str, Any]:
    """The compose file, read as docker-compose 1.29 (YAML 1.1) reads it."""
    return yaml.safe_load(host_files(plan)[plan.host.layout.compose_file])


def services_of(plan: EnvironmentPlan) -> dict[str, Any]:
    """Its services, without the edge (test_edge.py)."""
    return {name: one for name, one in compose(plan)["services"].items() if name != "edge"}


@pytest.fixture(params=SERVERS)
def stack(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_service_of_the_plan_and_nothing_else(stack: str) -> None:
    plan = plan_of(stack)
    assert set(compose(plan)["services"]) == {"edge", *(service.name for service in plan.running)}  # P7
    without = compose(plan_of(stack, *RECREATE[stack]))
    assert set(without["services"]) == {service.name for service in plan.running}
    assert set(compose(plan)) == set(without) == {"networks", "services"}


def test_private_services_listen_on_loopback_only(stack: str) -> None:
    plan = plan_of(stack, *RECREATE[stack])
    for name, service in compose(plan)["services"].items():
        port = next(one.port for one in plan.running if one.name == name)
        bind = "" if name in PUBLIC[stack] else "127.0.0.1:"
        assert service["ports"] == [f"{bind}{port}:{port}"], name  # D11, D19


def test_behind_an_edge_each_has_one_of_a_pair_where_nobody_outside_is(stack: str) -> None:
    plan = plan_of(stack)
    for one in plan.running:
        pair = f"{GATEWAY[stack]}:{2 * one.port}-{2 * one.port + 1}:{one.port}"
        assert compose(plan)["services"][one.name]["ports"] == [pair], one.name


def test_every_container_has_a_memory_limit_and_no_swap(stack: str) -> None:
    plan = plan_of(stack)
    default = {"tencent": (64_000_000, 0.08), "alibaba": (51_000_000, 0.07)}[stack]
    for name, service in compose(plan)["services"].items():
        assert (service["mem_limit"], service["cpus"]) == ((32_000_000, 0.2) if name == "edge" else default)  # D14
        assert service["memswap_limit"] == service["mem_limit"]


def test_labels_tell_what_is_ours(stack: str) -> None:
    plan = plan_of(stack)
    for name, service in compose(plan)["services"].items():
        labels = service["labels"]
        assert all(isinstance(value, str) for value in labels.values())
        assert labels["blockchain-dao.stack"] == stack  # D5
        assert labels["blockchain-dao.service"] == name
        assert labels.get("blockchain-dao.edition") == ("dao" if name in EDITION else None)
        assert len(labels["blockchain-dao.definition"]) == 12


def test_needed_services_start_first(stack: str) -> None:
    waits = {name: service.get("depends_on") for name, service in compose(plan_of(stack))["services"].items()}
    assert {name: after for name, after in waits.items() if after} == {
        "blockchain-service": ["identity-service", "governance-service"],
        "crosschain-service": ["blockchain-service"],
    }  # P5


def test_only_editions_have_documented_container_names(stack: str) -> None:
    wanted = {name: name for name in EDITION} if stack == "tencent" else {}  # E2
    services = compose(plan_of(stack, *RECREATE[stack]))["services"]
    assert {name: one["container_name"] for name, one in services.items() if "container_name" in one} == wanted
    assert not any(CONTAINER in one["labels"] for one in services.values())
    # Behind an edge two of one run while it is updated, which a fixed name forbids.
    services = compose(plan_of(stack))["services"]
    assert {name: one["labels"][CONTAINER] for name, one in services.items() if CONTAINER in one["labels"]} == wanted
    assert not any("container_name" in one for one in services.values())


def test_services_heal_and_are_watched(stack: str) -> None:
    for name, service in services_of(plan_of(stack)).items():
        assert service["restart"] == "always", name  # D25
        assert service["healthcheck"]["test"] == ["CMD", "python3", "-m", "standin.probe"]  # P9
        assert service["stop_grace_period"] == "10s"
        assert service["volumes"] == [f"./data/{name}:/data"]
        assert service["image"] == "blockchain-dao/stand-in:0.1.0"  # D13


def test_databases_are_reached_through_the_networks_gateway(stack: str) -> None:
    file = compose(plan_of(stack))
    subnet = GATEWAY[stack].removesuffix(".1") + ".0/24"
    ipam = {"config": [{"subnet": subnet, "gateway": GATEWAY[stack]}]}
    labels = {"blockchain-dao.stack": stack}
    assert file["networks"] == {"default": {"name": f"blockchain-{stack}", "labels": labels, "ipam": ipam}}
    identity = file["services"]["identity-service"]["environment"]
    assert identity["BLOCKCHAIN_MYSQL_HOST"] == GATEWAY[stack]
    assert identity["BLOCKCHAIN_REDIS_HOST"] == GATEWAY[stack]


@pytest.mark.parametrize(
    ("subnet", "gateway"), [("10.9.0.16/28", "10.9.0.17"), ("10.9.0.0/16", "10.9.0.1"), ("10.9.4.128/25", "10.9.4.129")]
)
def test_the_gateway_is_inside_its_subnet(subnet: str, gateway: str) -> None:
    file = compose(plan_of("tencent", put("host.subnet", subnet)))
    assert file["networks"]["default"]["ipam"]["config"] == [{"subnet": subnet, "gateway": gateway}]
    assert file["services"]["identity-service"]["environment"]["BLOCKCHAIN_MYSQL_HOST"] == gateway


def test_a_service_gets_only_what_it_needs(stack: str) -> None:
    services = services_of(plan_of(stack))
    with_databases = {name for name, one in services.items() if "SERVICE_DATABASES" in one["environment"]}
    assert with_databases == {"identity-service", "governance-service", *(EDITION if stack == "tencent" else [])}
    with_chains = {name for name, one in services.items() if "BLOCKCHAIN_HUAWEI_ENDPOINT" in one["environment"]}
    assert with_chains == {"blockchain-service", "crosschain-service"}
    assert not any("env_file" in service for service in services.values())


def test_each_edition_has_its_own_database() -> None:
    services = services_of(plan_of("tencent"))
    used = {name: one["environment"].get("BLOCKCHAIN_MYSQL_DATABASE") for name, one in services.items()}
    assert {name for name, database in used.items() if database == "dao_users"} == set(EDITION)  # E4, D24
    others = {database for name, database in used.items() if name not in EDITION}
    assert others == {None}  # D24: the twelve services' databases are never named {edition}_users


def test_nothing_of_editions_on_alibaba() -> None:
    text = host_files(plan_of("alibaba"))["docker-compose-blockchain-alibaba.yml"]
    assert "edition" not in text
    assert "EDITION" not in text  # D23


def test_the_dao_group_can_be_left_out() -> None:
    services = compose(plan_of("alibaba", put("dao_group", False)))["services"]
    assert not any(name.startswith("dao-") for name in services)  # D10


def test_a_real_image_is_probed_by_http() -> None:
    image = put("services.identity-service.image", "registry.example:5000/identity:1.4.2")
    service = compose(plan_of("tencent", image))["services"]["identity-service"]
    assert service["image"] == "registry.example:5000/identity:1.4.2"
    assert service["healthcheck"]["test"] == [
        "CMD-SHELL",
        "wget -q -O /dev/null http://127.0.0.1:8402/health || curl -fsS -o /dev/null http://127.0.0.1:8402/health",
    ]
    assert "SERVICE_STAND_IN" not in service["environment"]  # D13


def test_public_is_configuration() -> None:
    def ports(*changes: Change) -> list[str]:
        plan = plan_of("tencent", *RECREATE["tencent"], *changes)
        return compose(plan)["services"]["blockchain-gateway"]["ports"]

    assert ports(put("services.blockchain-gateway.public", False)) == ["127.0.0.1:8411:8411"]  # D19
    assert ports() == ["8411:8411"]
    private = put("editions.dao.services.dao-service-1.public", False)
    closed = compose(plan_of("tencent", *RECREATE["tencent"], private))
    assert closed["services"]["dao-service-1"]["ports"] == ["127.0.0.1:8200:8200"]


def alone(name: str, **service: Any) -> EnvironmentPlan:
    """A server's plan with one service of one's own."""
    return plan_of("tencent", put("services", {name: {"port": 8405, "own": True, **service}}))


@pytest.mark.parametrize("name", ["no", "on", "y", "null", "true"])
def test_a_word_of_yamls_own_may_be_a_name(name: str) -> None:
    other = {"port": 8406, "own": True, "needs": [name], "env": {name.upper(): "1"}}
    services = {name: {"port": 8405, "own": True}, "other": other}
    found = compose(plan_of("tencent", put("services", services), drop("editions"), drop("edition")))["services"]
    del found["edge"]
    assert set(found) == {name, "other"}
    assert found[name]["labels"]["blockchain-dao.service"] == name
    assert found["other"]["depends_on"] == [name]
    assert found["other"]["environment"][name.upper()] == "1"


def test_an_image_that_looks_like_a_time_is_an_image() -> None:
    found = compose(alone("mine", image="12:30"))["services"]["mine"]
    assert found["image"] == "12:30"  # YAML 1.1 reads 750 without quotes


one_line = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\ufffe\uffff"), max_size=40
)
key = st.one_of(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True), st.sampled_from(["ON", "No", "y", "NULL"])
)


@given(st.dictionaries(key, one_line, max_size=3))
def test_settings_are_read_back_as_they_were_written(env: dict[str, str]) -> None:
    """Quotes, hashes, colons, dollars, spaces, emoji: YAML and compose's own `$` change none of them."""
    plan = alone("mine", env=env)
    text = block(plan, plan.services[0], service_environment(plan, plan.services[0], {}), [], "0" * 12)
    found = yaml.safe_load(text)["mine"]["environment"]
    assert {name: found[name].replace("$$", "$") for name in env} == env
    assert all("$" not in found[name].replace("$$", "") for name in env)
