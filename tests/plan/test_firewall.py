"""What the host's firewall is told of a plan (D11): every port of this stack, nobody else's, never SSH's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from plan.models import EnvironmentPlan
from plan.problems import InvalidStackError
from plan.render import host_definition
from plan.render.firewall import firewall
from tests.plan.stacks import Raw, plan_of, put
from tests.plan.strategies import stack_files
from tests.plan.test_properties import STACK_NAMES, plan_or_none

pytestmark = pytest.mark.timeout(900)  # SOAK=1 asks for twenty times the examples

EVERYBODY = ["0.0.0.0/0", "::/0"]


def ports(plan: EnvironmentPlan) -> dict[int, Any]:
    return {entry["port"]: (entry["owner"], entry["open_to"]) for entry in firewall(plan)["ports"]}


def test_tencents_ports() -> None:
    found = ports(plan_of("tencent"))
    databases = {3306: "mysql", 5432: "postgres", 6379: "redis", 7474: "neo4j", 7687: "neo4j"}
    databases |= {9200: "elasticsearch", 8080: "weaviate"}
    assert {port: found[port] for port in databases} == {port: (name, []) for port, name in databases.items()}
    # Three editions, also the two that are off: a switch must not wait for a firewall.
    for port in (8000, 8001, 8002, 8100, 8200, 8201, 8300, 8400, 9000, 9001, 9100, 9201):
        assert found[port][1] == EVERYBODY  # E7, D19
    assert found[8411] == ("blockchain-gateway", EVERYBODY)  # D19
    inner = {port for port in range(8401, 8434) if port in found} - {8411}
    assert len(inner) == 12  # the edge's own
    assert all(found[port][1] == [] for port in inner)
    assert not {22, 9502, 7531, 9503, 8206} & set(found)  # SSH's and somebody else's (D20)
    assert list(found) == sorted(found)


def test_alibabas_ports() -> None:
    found = ports(plan_of("alibaba"))
    assert found[9507] == ("mysql", [])
    assert {port for port, (_, to) in found.items() if to} == {8501, 8502, 8503, 8504}
    assert not {8300, 8500, 8600, 8080, 9514, 9515, 8206} & set(found)  # D20


def test_networks_of_the_stack_file() -> None:
    office, site = "203.0.113.0/24", "2001:db8::/32"
    found = ports(
        plan_of(
            "tencent",
            put("databases.mysql.open_to", [office, site]),
            put("services.blockchain-gateway.open_to", [office, "0.0.0.0/0", office]),
            put("services.blockchain-monitor", {"port": 8412, "public": True, "open_to": ["::/0"]}),
            put("editions.dao.services.dao-service-1.open_to", []),
            put("editions.dao.services.dao-service-2", {"port": 8201, "public": False, "open_to": [office]}),
        )
    )
    assert found[3306] == ("mysql", [office, site])
    assert found[8411] == ("blockchain-gateway", [office, *EVERYBODY])  # everybody is everybody
    assert found[8412] == ("blockchain-monitor", ["::/0"])  # all of IPv6 is said on purpose
    assert found[8200] == ("dao-service-1", [])
    assert found[8201] == ("dao-service-2", [])  # it listens on loopback


def test_a_database_elsewhere_is_no_port_of_this_host() -> None:
    assert 3306 not in ports(plan_of("tencent", put("databases.mysql.host", "10.0.0.7")))


def test_a_laptop_has_none() -> None:
    assert "firewall" not in host_definition(plan_of("local"))


@pytest.mark.parametrize("port", [22, 2222])
def test_sshs_port_can_be_nobody_elses(port: int) -> None:
    with pytest.raises(InvalidStackError, match=rf"{port} is taken on 101\.33\.251\.158 by sshd"):
        plan_of("tencent", put("host.ssh_port", port), put("databases.mysql.port", port))


@given(STACK_NAMES, stack_files())
def test_whatever_the_stack_file_says(stack: str, raw: Raw) -> None:
    plan = plan_or_none(stack, raw)
    if plan is None:
        return
    found = firewall(plan)
    listed = [entry["port"] for entry in found["ports"]]
    assert listed == sorted(set(listed))
    if plan.runtime == "compose":
        assert found["ssh_port"] not in listed
    ours = {service.port for service in (*plan.services, *(m for e in plan.editions for m in e.members))}
    assert ours <= set(listed)
    assert not set(listed) & {port for existing in plan.existing for port in existing.ports}
