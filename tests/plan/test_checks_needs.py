"""The rules on dependencies: unknown, missing, cyclic, each with its exact message (P5)."""

from __future__ import annotations

import pytest

from tests.plan.stacks import Change, drop, plan_of, problems_of, put


def needs(service: str, *names: str) -> Change:
    return put(f"services.{service}.needs", list(names))


def databases(service: str, *names: str) -> Change:
    return put(f"services.{service}.databases", list(names))


CASES = [
    pytest.param(
        "local",
        [needs("blockchain-config", "identity-servce")],
        [
            "services.blockchain-config.needs: needs 'identity-servce', which nobody knows; "
            "did you mean 'identity-service'?"
        ],
        id="misspelt-service",
    ),
    pytest.param(
        "local",
        [needs("blockchain-config", "zzz")],
        [
            "services.blockchain-config.needs: needs 'zzz', which nobody knows; known here: blockchain-monitor, "
            "blockchain-service, crosschain-service, governance-service, identity-service"
        ],
        id="service-like-none",
    ),
    pytest.param(
        "local",
        [needs("blockchain-config", "blockchain-auth")],
        [
            "services.blockchain-config.needs: needs 'blockchain-auth', which this stack lacks; "
            "add services.blockchain-auth, or list others"
        ],
        id="documented-service-that-the-stack-lacks",
    ),
    pytest.param(
        "local",
        [drop("services.identity-service")],
        [
            "services.blockchain-service.needs: needs 'identity-service', which this stack lacks; "
            "add services.identity-service, or list others"
        ],
        id="documented-need-that-the-stack-lacks",
    ),
    pytest.param(
        "alibaba",
        [put("dao_group", False), needs("blockchain-audit", "dao-voting")],
        [
            "services.blockchain-audit.needs: needs 'dao-voting', whose group is off; "
            "say `dao_group: true`, or list others"
        ],
        id="D10-service-of-a-group-that-is-off",
    ),
    pytest.param(
        "local",
        [drop("databases.redis")],
        [
            "services.governance-service.databases: needs 'redis', which this stack lacks; "
            "add databases.redis, or list others",
            "services.identity-service.databases: needs 'redis', which this stack lacks; "
            "add databases.redis, or list others",
        ],
        id="documented-database-that-the-stack-lacks",
    ),
    pytest.param(
        "local",
        [databases("blockchain-config", "mysq")],
        ["services.blockchain-config.databases: needs 'mysq', which nobody knows; did you mean 'mysql'?"],
        id="misspelt-database",
    ),
    pytest.param(
        "local",
        [databases("blockchain-config", "oracle")],
        ["services.blockchain-config.databases: needs 'oracle', which nobody knows; known here: mysql, redis"],
        id="database-like-none",
    ),
    pytest.param(
        "local",
        [
            drop("databases"),
            databases("identity-service"),
            databases("governance-service"),
            databases("blockchain-config", "oracle"),
        ],
        ["services.blockchain-config.databases: needs 'oracle', which nobody knows; none is known here"],
        id="no-database-at-all",
    ),
    pytest.param(
        "local",
        [needs("blockchain-config", "blockchain-config")],
        [
            "services.blockchain-config.needs: the dependencies go in a circle: "
            "blockchain-config -> blockchain-config; drop one of them, for example 'blockchain-config' here"
        ],
        id="itself",
    ),
    pytest.param(
        "local",
        [needs("identity-service", "crosschain-service")],
        [
            "services.blockchain-service.needs: the dependencies go in a circle: "
            "blockchain-service -> identity-service -> crosschain-service -> blockchain-service; "
            "drop one of them, for example 'identity-service' here"
        ],
        id="circle",
    ),
    pytest.param(
        "local",
        [
            needs("identity-service", "crosschain-service"),
            needs("blockchain-config", "blockchain-monitor"),
            needs("blockchain-monitor", "blockchain-config"),
        ],
        [
            "services.blockchain-config.needs: the dependencies go in a circle: "
            "blockchain-config -> blockchain-monitor -> blockchain-config; "
            "drop one of them, for example 'blockchain-monitor' here",
            "services.blockchain-service.needs: the dependencies go in a circle: "
            "blockchain-service -> identity-service -> crosschain-service -> blockchain-service; "
            "drop one of them, for example 'identity-service' here",
        ],
        id="two-circles",
    ),
    pytest.param(
        "local",
        [needs("blockchain-config", "blockchain-config", "nobody-at-all")],
        [
            "services.blockchain-config.needs: needs 'nobody-at-all', which nobody knows; known here: "
            "blockchain-monitor, blockchain-service, crosschain-service, governance-service, identity-service",
            "services.blockchain-config.needs: the dependencies go in a circle: "
            "blockchain-config -> blockchain-config; drop one of them, for example 'blockchain-config' here",
        ],
        id="unknown-and-itself",
    ),
]


@pytest.mark.parametrize(("stack", "changes", "problems"), CASES)
def test_a_need_that_cant_be_met_is_named(stack: str, changes: list[Change], problems: list[str]) -> None:
    assert problems_of(stack, *changes) == problems  # P5


@pytest.mark.parametrize("stack", ["local", "tencent", "alibaba"])
def test_needs_are_the_documented_ones(stack: str) -> None:
    plan = plan_of(stack)
    needs_of = {service.name: [need.name for need in service.needs] for service in plan.services}
    assert {name: needed for name, needed in needs_of.items() if needed} == {
        "blockchain-service": ["identity-service", "governance-service"],
        "crosschain-service": ["blockchain-service"],
    }  # P5
    databases_of = {service.name: list(service.databases) for service in plan.services}
    assert {name: needed for name, needed in databases_of.items() if needed} == {
        "identity-service": ["mysql", "redis"],
        "governance-service": ["mysql", "redis"],
    }  # P5


def test_a_stack_file_may_say_other_needs() -> None:
    plan = plan_of("local", needs("blockchain-service"), needs("identity-service", "crosschain-service"))
    order = [service.name for service in plan.services]
    assert order.index("blockchain-service") < order.index("crosschain-service") < order.index("identity-service")


def test_a_service_is_needed_at_its_address() -> None:
    def needed(stack: str, *changes: Change) -> list[tuple[str, int, str]]:
        plan = plan_of(stack, *changes)
        service = next(service for service in plan.services if service.name == "blockchain-service")
        return [(need.name, need.port, need.url) for need in service.needs]

    assert needed("local") == [
        ("identity-service", 8302, "http://127.0.0.1:8302"),
        ("governance-service", 8303, "http://127.0.0.1:8303"),
    ]
    # Containers find each other by name: the host's loopback is out of their reach.
    by_name = [("identity-service", 8302, "http://identity-service:8302")]
    assert needed("local", put("runtime", "docker"))[:1] == by_name
    without = [put("updates", "recreate")]
    assert needed("tencent", *without)[1:] == [("governance-service", 8403, "http://governance-service:8403")]
    # Docker's names lead to a container that isn't ready too: behind an edge they ask the edge.
    assert needed("tencent")[1:] == [("governance-service", 8403, "http://172.28.84.1:8403")]
    elsewhere = put("host.subnet", "10.9.0.16/28")
    assert needed("tencent", elsewhere)[1:] == [("governance-service", 8403, "http://10.9.0.17:8403")]
